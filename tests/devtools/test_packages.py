"""Installation of packages by uv and by pip, from an index that only the configuration of pip names."""

import base64
import datetime as dt
import hashlib
import ipaddress
import re
import ssl
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from devtools import packages
from tests.support.paths import ROOT

LISTS = sorted((ROOT / "docker" / "requirements").glob("*.txt"))
# What some developer's shell, or this machine, has set.
SET = [name for name in packages.os.environ if re.match(r"(PIP|UV)_|(SSL|REQUESTS|CURL|HTTPS?|ALL)_|\w+_proxy", name)]


class TestLists:
    @pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
    def test_each_package_has_a_version_and_hashes_and_no_index(self, path):
        text = path.read_text()
        entries = [entry for entry in re.split(r"\n(?=\S)", text.strip()) if entry]

        assert "//" not in text
        assert entries
        for entry in entries:
            assert re.match(r"[a-z0-9-]+==[\w.]+ ; .+( \\\n    --hash=sha256:[0-9a-f]{64})+$", entry), entry

    def test_no_description_in_the_lock_file_names_a_host(self):
        named = re.findall(
            r'^description = ".*[a-z]\.(?:com|io|net|org).*', (ROOT / "poetry.lock").read_text(), re.MULTILINE
        )

        assert named == []

    def test_there_is_one_for_each_group(self):
        groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
        exported = re.search(r"for group in (.+); do", (ROOT / "devtools" / "export-lists").read_text())

        assert {path.stem for path in LISTS} == {"main", *groups} == set(exported[1].split())

    @pytest.mark.parametrize(
        ("arguments", "made", "code", "written"),
        [
            (["--check"], "new", 1, "old"),
            (["--check"], "old", 0, "old"),
            ([], "new", 0, "new"),
        ],
    )
    def test_one_that_is_not_poetry_s_export_is_found_and_written_anew(self, tmp_path, arguments, made, code, written):
        lists = tmp_path / "docker" / "requirements"
        lists.mkdir(parents=True)
        (tmp_path / "devtools").mkdir()
        script = tmp_path / "devtools" / "export-lists"
        script.write_text((ROOT / "devtools" / "export-lists").read_text())
        for path in LISTS:
            (lists / path.name).write_text("old\n")
        poetry = tmp_path / "poetry"
        poetry.write_text(
            '#!/bin/sh\nwhile [ $# != 1 ]; do shift; done\ncase "$1" in *.txt) echo "$MADE" >"$1" ;; esac\n'
        )
        poetry.chmod(0o755)

        lock = tmp_path / "poetry.lock"
        lock.write_text('description = "A mirror of index.example.org"\nname = "a"\n')

        env = {"PATH": f"{tmp_path}:{packages.os.defpath}", "MADE": made}
        command = ["bash", script, *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)

        assert ("example.org" in lock.read_text(), 'name = "a"\n' in lock.read_text()) == (bool(arguments), True)
        assert (done.returncode, (lists / "dev.txt").read_text().strip()) == (code, written)
        assert ("make lock" in done.stderr) is bool(code)


class TestConfiguration:
    def test_variables_win_over_install_and_that_over_global(self):
        listed = (
            ":env:.default-timeout='30'\n:env:.cert='/three.pem'\nglobal.cert='/one.pem'\nglobal.index-url='https://it\\'s'\n"
            "install.cert='/two.pem'\nglobal.extra-index-url='\\nhttps://a/simple\\nfile:///b'\nfreeze.index-url='https://no'\n"
            "global.user='yes'\nglobal.trusted-host=''\n"
        )

        assert packages.merged(listed) == {
            "timeout": "30",
            "cert": "/three.pem",
            "index-url": "https://it's",
            "extra-index-url": "https://a/simple file:///b",
        }

    def test_uv_is_told_all_that_pip_knows(self, tmp_path):
        env = packages.for_uv(
            {
                "index-url": "https://ada:secret@one/simple",
                "extra-index-url": "https://two/simple file:///three",
                "find-links": f"{tmp_path} /not/there https://four/links",
                "no-index": "true",
                "trusted-host": "one two:8443",
                "cert": "/ca.pem",
                "client-cert": "/me.pem",
                "proxy": "http://proxy:3128",
                "timeout": "15.5",
                "retries": "7",
                "keyring-provider": "subprocess",
                "no-cache-dir": "1",
                "cache-dir": "/pips",
            },
            {"SSL_CERT_FILE": "/everybodys.pem", "HOME": "/home"},
        )

        assert env == {
            "HOME": "/home",
            "UV_DEFAULT_INDEX": "https://ada:secret@one/simple",
            "UV_INDEX": "https://two/simple file:///three",
            "UV_FIND_LINKS": f"{tmp_path},https://four/links",
            "UV_NO_INDEX": "true",
            "UV_INSECURE_HOST": "one two:8443",
            "SSL_CERT_FILE": "/ca.pem",
            "SSL_CLIENT_CERT": "/me.pem",
            "HTTPS_PROXY": "http://proxy:3128",
            "HTTP_PROXY": "http://proxy:3128",
            "UV_HTTP_TIMEOUT": "15",
            "UV_HTTP_RETRIES": "7",
            "UV_KEYRING_PROVIDER": "subprocess",
            "UV_NO_CACHE": "1",
            "UV_INDEX_STRATEGY": "unsafe-best-match",
        }

    def test_what_was_set_for_uv_itself_stays(self):
        configured = {"index-url": "https://pips/simple", "keyring-provider": "import"}

        env = packages.for_uv(configured, {"UV_INDEX_URL": "https://uvs/simple", "UV_HTTP_RETRIES": "9"})
        assert env.items() >= {"UV_INDEX_URL": "https://uvs/simple", "UV_HTTP_RETRIES": "9"}.items()
        assert not {"UV_DEFAULT_INDEX", "UV_KEYRING_PROVIDER"} & env.keys()

    @pytest.mark.parametrize(
        ("env", "told"),
        [
            ({}, {"UV_SYSTEM_CERTS": "true"}),
            ({"REQUESTS_CA_BUNDLE": "/bundle.pem"}, {"SSL_CERT_FILE": "/bundle.pem"}),
        ],
    )
    def test_uv_trusts_what_pip_trusts(self, env, told):
        assert packages.for_uv({}, env).items() >= told.items()

    @pytest.mark.parametrize(
        "name", ["PIP_USER", "PIP_CONSTRAINT", "UV_TARGET", "UV_SYSTEM_PYTHON", "UV_EXCLUDE_NEWER"]
    )
    def test_what_was_set_for_other_work_reaches_neither(self, monkeypatch, name):
        monkeypatch.setenv(name, "x")

        assert name not in packages.environment()

    @pytest.mark.parametrize(
        "name",
        ["PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT", "UV_INDEX", "UV_INDEX_ONE_PASSWORD", "UV_CACHE_DIR", "UV_OFFLINE"],
    )
    def test_how_they_get_to_an_index_reaches_both(self, monkeypatch, name):
        monkeypatch.setenv(name, "x")

        assert packages.environment()[name] == "x"


class Index(SimpleHTTPRequestHandler):
    """An index in a folder; below `locked/` for ada only."""

    def do_GET(self) -> None:
        wanted = f"Basic {base64.b64encode(b'ada:open-sesame').decode()}"
        if self.path.startswith("/locked/") and self.headers.get("Authorization") != wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_arguments: object) -> None:
        """Write nothing."""


def wheel(folder: Path, name: str) -> str:
    """Write a package of one module, and return its line of a list."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"


def index_page(simple: Path, name: str) -> str:
    """Write a package into an index, and return its line of a list."""
    line = wheel(simple / name, name)
    (file,) = (simple / name).glob("*.whl")
    (simple / name / "index.html").write_text(f'<a href="{file.name}">{file.name}</a>')
    return line


def certificate(folder: Path) -> Path:
    """Write a certificate for 127.0.0.1 that only its own file makes trusted, with its key, and return its path."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test index")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "ca.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture(scope="module")
def uv() -> Path:
    """The uv that installs the packages of this checkout, which is installed if it is not there."""
    path = packages.find_uv(*packages.pip_and_its_configuration())
    assert path is not None
    return Path(path)


@pytest.mark.slow
class TestInstall:
    @pytest.fixture
    def mirror(self, tmp_path) -> Iterator[str]:
        """An index over TLS with a package `one` for ada, and an extra one with `two`; and a folder with `three`."""
        site = tmp_path / "site"
        self.lines = [
            index_page(site / "locked" / "simple", "one"),
            index_page(site / "extra" / "simple", "two"),
            wheel(tmp_path / "wheels", "three"),
        ]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate(tmp_path))
        with ThreadingHTTPServer(("127.0.0.1", 0), partial(Index, directory=str(site))) as server:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"127.0.0.1:{server.server_port}"
            server.shutdown()

    @pytest.fixture
    def machine(self, tmp_path, monkeypatch, mirror):
        """A machine whose packages come from the mirror, without uv; a list `all`, and the programs that were started."""
        lists = tmp_path / "lists"
        lists.mkdir()
        (lists / "installer.txt").write_text((ROOT / "docker" / "requirements" / "installer.txt").read_text())
        (lists / "all.txt").write_text("".join(self.lines))
        monkeypatch.setattr(packages, "LISTS", lists)
        monkeypatch.setattr(packages, "LOCAL", tmp_path / "local")
        for name in SET:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("PATH", packages.os.defpath)
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
        self.configure(tmp_path, mirror, f"cert = {tmp_path / 'ca.pem'}")
        self.commands: list[list[str]] = []
        real = subprocess.run

        def run(command, **options):
            self.commands.append(command)
            return real(command, **options)

        monkeypatch.setattr(packages.subprocess, "run", run)
        return tmp_path

    def configure(self, folder, mirror, trust, section="global"):
        (folder / "pip.conf").write_text(
            f"[{section}]\nindex-url = https://ada:open-sesame@{mirror}/locked/simple\n"
            f"extra-index-url =\n    https://{mirror}/extra/simple\n    file:///not/there\n"
            f"find-links = {folder / 'wheels'} /not/there\n{trust}\n"
        )

    def installed(self, folder) -> set[str]:
        packages.make_venv(folder / "venv")
        packages.install(folder / "venv", "all")
        return {path.stem for path in folder.glob("venv/lib/python3*/site-packages/*.py")}

    @pytest.fixture
    def with_uv(self, machine, uv, monkeypatch):
        monkeypatch.setenv("PATH", f"{uv.parent}:{packages.os.defpath}")
        return machine

    @pytest.mark.parametrize("section", ["global", "install"])
    def test_uv_gets_what_pip_is_configured_for(self, with_uv, mirror, capfd, section):
        self.configure(with_uv, mirror, f"cert = {with_uv / 'ca.pem'}", section)

        assert self.installed(with_uv) == {"one", "two", "three"}
        output = "".join(capfd.readouterr())
        assert self.commands[-1][1:3] == ["pip", "install"]
        assert "open-sesame" not in output
        assert "open-sesame" not in repr(self.commands)

    def test_uv_trusts_a_host_that_pip_trusts(self, with_uv, mirror):
        self.configure(with_uv, mirror, f"trusted-host = {mirror}")

        assert self.installed(with_uv) == {"one", "two", "three"}
        assert self.commands[-1][1:3] == ["pip", "install"]

    def test_a_variable_wins(self, with_uv, mirror, monkeypatch, capfd):
        """The index of the variable has no package, and what uv and pip say of it is without its password."""
        monkeypatch.setenv("PIP_INDEX_URL", f"https://ada:open-sesame@{mirror}/locked/none")

        with pytest.raises(packages.InstallError) as error:
            self.installed(with_uv)
        assert "open-sesame" not in "".join(capfd.readouterr()) + str(error.value) + repr(self.commands)

    def test_pip_installs_the_same_list_where_there_is_no_uv(self, machine, capfd):
        assert self.installed(machine) == {"one", "two", "three"}
        output = "".join(capfd.readouterr())
        assert "uv cannot be had here" in output
        assert self.commands[-1][:3] == [sys.executable, "-m", "pip"]
        assert "open-sesame" not in output + repr(self.commands)

    def test_no_package_is_taken_for_another(self, with_uv, capfd):
        """Neither uv nor pip, which is tried after it, takes a file of another hash."""
        wheel(with_uv / "wheels", "three")
        (with_uv / "lists" / "all.txt").write_text(
            f"{self.lines[0]}{re.sub('[0-9a-f]{64}', '0' * 64, self.lines[1])}{self.lines[2]}"
        )

        with pytest.raises(packages.InstallError, match="this failed"):
            self.installed(with_uv)
        assert "pip installs the same list" in capfd.readouterr().out
