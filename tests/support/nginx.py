"""nginx with the configuration that is shipped (docker/nginx), in front of instances of the application."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from tests.support.client import Address
from tests.support.paths import ROOT
from tests.support.patience import HANG_S

CONFIGURATION = ROOT / "docker" / "nginx" / "nginx.conf"


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
    """nginx on a free port of 127.0.0.1, with the shipped configuration, that port and a list of instances."""

    def __init__(self, folder: Path, instances: Iterable[Address]) -> None:
        self._program = find_nginx()
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address: Address = free.getsockname()
        shutil.copy(CONFIGURATION, folder)
        (folder / "listen.conf").write_text(f"listen 127.0.0.1:{self.address[1]};\nset $forwarded_proto $scheme;\n")
        # Its workers may run as another user.
        folder.chmod(0o755)
        self._write(instances)

    @property
    def log(self) -> Path:
        return self._folder / "log"

    def _write(self, instances: Iterable[Address]) -> None:
        lines = [f"server {host}:{port};\n" for host, port in instances]
        (self._folder / "upstream.conf").write_text("".join(lines))

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._program,
                    *("-p", str(self._folder), "-c", str(self._folder / "nginx.conf"), "-e", "stderr"),
                    *("-g", f"daemon off; pid {self._folder}/pid;"),
                ],
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
        self._process.terminate()
        self._process.wait(timeout=HANG_S)

    def balance(self, instances: Iterable[Address]) -> None:
        """Send requests that begin from now on to these instances only."""
        self._write(instances)
        before = self._workers()
        self._process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + HANG_S
        # The old ones finish what they have, take nothing new, and end.
        while not self._workers() or self._workers() & before:
            assert time.monotonic() < deadline, f"nginx does not reload:\n{self.log.read_text()[-4000:]}"
            time.sleep(0.01)

    def _workers(self) -> set[str]:
        return set(Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split())
