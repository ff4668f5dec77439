"""`checks/fixed-in-debian`, with the real debsecan, on vulnerabilities as Debian's tracker publishes them."""

import functools
import http.server
import subprocess
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.monitoring_programs import program
from tests.support.paths import ROOT

# libssl and zlib have a fix, high and low, of which zlib's is installed; curl has none.
TRACKER = """VERSION 1
CVE-2026-0001,,OpenSSL reads too far
CVE-2026-0002,,zlib writes too far
CVE-2026-0003,,curl asks too much

openssl,0,SHRF,3.5.2-1,
zlib,1,SLRF,1:1.3-2,
curl,2,SHR ,,

openssl,libssl3t64 openssl
zlib,zlib1g
curl,curl libcurl4t64

"""


@pytest.fixture(scope="module")
def tracker(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("tracker")
    (folder / "trixie").write_bytes(zlib.compress(TRACKER.encode()))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def check(tracker, tmp_path):
    """Run the script on these versions."""
    program("debsecan", "debsecan")

    def check(source: str = tracker, **versions: str) -> subprocess.CompletedProcess[str]:
        status = tmp_path / "status"
        status.write_text(
            "".join(
                f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nSource: {name}\nVersion: {version}\n\n"
                for name, version in versions.items()
            )
        )
        return run(status, "--source", source)

    return check


def run(status: Path, *options: str) -> subprocess.CompletedProcess[str]:
    words = [ROOT / "checks" / "fixed-in-debian", "trixie", status, *options]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_a_package_with_a_fix_that_is_not_installed_fails(check):
    done = check(openssl="3.5.1-1", zlib="1:1.3-2")

    assert done.returncode == 1
    assert "CVE-2026-0001 openssl" in done.stdout
    assert "CVE-2026-0002" not in done.stdout


def test_what_has_no_fix_yet_passes(check):
    done = check(openssl="3.5.2-1", curl="8.14.1-2")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "ok  none of 2 Debian packages has a vulnerability that trixie has fixed\n"


def test_no_answer_is_no_pass(check):
    done = check(source="http://127.0.0.1:9", openssl="3.5.2-1")

    assert done.returncode != 0
    assert "ok" not in done.stdout


def test_no_packages_are_no_pass(check, tmp_path):
    (tmp_path / "empty").touch()

    done = run(tmp_path / "empty")

    assert (done.returncode, done.stderr) == (2, f"error: {tmp_path}/empty has no packages\n")
