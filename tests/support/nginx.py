"""nginx with the configuration that is shipped (docker/nginx), started by the shipped entrypoint."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import pytest

from tests.support.client import Address
from tests.support.paths import ROOT
from tests.support.patience import HANG_S

# A balancer as the internet's: it ends TLS, appends to X-Forwarded-For, sets X-Forwarded-Proto, passes a body on as it
# comes, keeps connections to its targets, and tries no other target after a failure.
BALANCER: Final = """
error_log stderr crit;
events { worker_connections 4096; }
http {
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    access_log off;
    upstream targets {
        zone targets 64k;
        keepalive 16;
        include upstream.conf;
    }
    server {
        include listen.conf;
        location / {
            proxy_pass http://targets;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto https;
            proxy_request_buffering off;
            proxy_next_upstream off;
        }
    }
}
"""


def find_nginx() -> str:
    """Return the program; without one skip the test, unless this is CI, which has it."""
    # Debian has it where only root's path leads.
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        reason = "there is no nginx in the path"
        if os.environ.get("CI"):  # noqa: TID251  no setting of the application's
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class Nginx:
    """nginx on a free port of 127.0.0.1, by `entrypoint proxy`, with that port and a list of instances.

    replacing: other values of directives, such as {"proxy_read_timeout": "1s"}, where a test cannot wait as long.
    configuration: another one than the shipped.
    most_requests: of an instance at once; by default the shipped number.
    """

    def __init__(
        self,
        folder: Path,
        instances: Iterable[Address],
        *,
        replacing: Mapping[str, str] | None = None,
        configuration: str = "",
        most_requests: int = 128,
    ) -> None:
        self._most_requests = most_requests
        folder.mkdir(exist_ok=True)
        # Its workers may run as another user.
        folder.chmod(0o755)
        self._folder = folder
        self._path = f"{Path(find_nginx()).parent}:{os.environ['PATH']}"  # noqa: TID251  a program's environment
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address: Address = free.getsockname()
        shutil.copytree(ROOT / "docker" / "nginx", folder / "docker" / "nginx")
        shutil.copy(ROOT / "docker" / "entrypoint", folder / "docker")
        shipped = configuration or self._file("nginx").read_text()
        for name, value in (replacing or {}).items():
            (old,) = [line for line in shipped.splitlines() if line.split()[:1] == [name]]
            shipped = shipped.replace(old, f"{name} {value};")
        self._file("nginx").write_text(shipped)
        listen = self._file("listen").read_text()
        assert "listen 8080;" in listen
        self._file("listen").write_text(listen.replace("8080", f"127.0.0.1:{self.address[1]}"))
        self._write(instances)

    def _file(self, name: str) -> Path:
        return self._folder / "docker" / "nginx" / f"{name}.conf"

    @property
    def log(self) -> Path:
        return self._folder / "log"

    def _write(self, instances: Iterable[Address]) -> None:
        lines = [f"server {host}:{port} max_conns={self._most_requests};\n" for host, port in instances]
        self._file("upstream").write_text("".join(lines) or "server 127.0.0.1:1 down;\n")

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._folder / "docker" / "entrypoint", "proxy"],
                env={"PATH": self._path, "TMPDIR": str(self._folder)},
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + HANG_S
        while True:
            with suppress(OSError), socket.create_connection(self.address):
                return self
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise AssertionError(f"nginx does not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.02)

    def __exit__(self, *exc_info: object) -> None:
        self.terminate()
        self.exit_code()

    def terminate(self) -> None:
        """Send the first process SIGTERM, as a platform does."""
        self._process.terminate()

    def exit_code(self, within_s: float = HANG_S) -> int:
        """Wait for the end."""
        return self._process.wait(timeout=within_s)

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def balance(self, instances: Iterable[Address]) -> None:
        """Send new requests to these instances only, and wait until the earlier ones have ended."""
        self._write(instances)
        before = self._workers()
        os.kill(self._master, signal.SIGHUP)
        deadline = time.monotonic() + HANG_S
        # The old ones finish what they have, take nothing new, and end.
        while not self._workers() or self._workers() & before:
            assert time.monotonic() < deadline, f"nginx does not reload:\n{self.log.read_text()[-4000:]}"
            time.sleep(0.01)

    @property
    def _master(self) -> int:
        return int((self._folder / "pid").read_text())

    def _workers(self) -> set[str]:
        return set(Path(f"/proc/{self._master}/task/{self._master}/children").read_text().split())
