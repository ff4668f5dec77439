"""gunicorn that serves the application as deployed: its own configuration, workers and threads, in processes of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.support.client import Address, Client, NoAnswer, Request
from tests.support.paths import ROOT
from tests.support.patience import HANG_S


class Server:
    """gunicorn on a free port of 127.0.0.1, serving a database; `log` is the path of its log."""

    def __init__(self, database_url: str, log: Path, *, workers: int, threads: int, **environment: str) -> None:
        self.log = log
        self._listener = socket.create_server(("127.0.0.1", 0))
        # Bound and not listening: no other process gets it, and gunicorn's arbiter may listen there.
        self._metrics = socket.socket()
        self._metrics.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._metrics.bind(("127.0.0.1", 0))
        self._environment = os.environ | {  # noqa: TID251  the child's is ours with some changed
            "DJANGO_SETTINGS_MODULE": "config.settings.test",
            "TEST_DATABASE_URL": database_url,
            "WEB_CONCURRENCY": str(workers),
            "GUNICORN_THREADS": str(threads),
            "METRICS_PORT": str(self.metrics_address[1]),
            "LOG_FORMAT": "json",
            "SENTRY_DSN": "",
            **environment,
        }

    @property
    def address(self) -> Address:
        return self._listener.getsockname()

    @property
    def metrics_address(self) -> Address:
        return self._metrics.getsockname()

    def __enter__(self) -> Self:
        self.launch()
        try:
            self.wait_until_it_answers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def launch(self) -> None:
        """Start it, and do not wait."""
        descriptor = self._listener.fileno()
        # The port is ours before gunicorn runs, so no other process can take it in between.
        self._run(
            sys.executable,
            "-m",
            "gunicorn",
            "--config",
            "server/gunicorn_conf.py",
            "--bind",
            f"fd://{descriptor}",
            "config.wsgi:application",
            pass_fds=[descriptor],
        )

    def _run(self, *command: str, pass_fds: Sequence[int] = ()) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=self._environment, stdout=log, stderr=log, pass_fds=pass_fds
            )

    def __exit__(self, *exc_info: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=HANG_S)
        except subprocess.TimeoutExpired:
            for pid in [*self.workers(), self._process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait(timeout=HANG_S)
        self._listener.close()
        self._metrics.close()

    def wait_until_it_answers(self, path: str = "/ping/", within_s: float = HANG_S) -> float:
        """Return the seconds until `path` was answered with 200."""
        start = time.monotonic()
        while True:
            with contextlib.suppress(NoAnswer), Client(self.address, token=None) as client:
                if client.send(Request("GET", path)).status == 200:
                    return time.monotonic() - start
            if self._process.poll() is not None or time.monotonic() - start > within_s:
                raise AssertionError(f"no answer from {path}:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.02)

    def reload(self) -> None:
        """Have gunicorn read its configuration again and replace its workers."""
        self._process.send_signal(signal.SIGHUP)

    def workers(self) -> list[int]:
        """List the process ids of the workers that live now."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def lines(self) -> list[dict[str, Any]]:
        """Return the logged lines, parsed; a line that is no JSON has its text alone."""
        return [_parsed(text) for text in self.log.read_text().splitlines()]

    def complaints(self) -> list[dict[str, Any]]:
        """List the log's lines of unplanned errors."""
        return [
            line for line in self.lines() if "exception" in line or line.get("level") == "critical" or "text" in line
        ]


class Instance(Server):
    """The application as a platform runs it: by its entrypoint, on a port that refuses connections once it has stopped."""

    def __init__(self, database_url: str, log: Path, *, workers: int, threads: int, **environment: str) -> None:
        super().__init__(database_url, log, workers=workers, threads=threads, **environment)
        self._environment["PATH"] = f"{Path(sys.executable).parent}:{self._environment['PATH']}"
        self._address: Address = self._listener.getsockname()
        # A socket of the test's would go on taking connections, unanswered.
        self._listener.close()

    @property
    def address(self) -> Address:
        return self._address

    def launch(self) -> None:
        host, port = self.address
        self._run("docker/entrypoint", "serve", "--bind", f"{host}:{port}")

    def signal(self, number: signal.Signals) -> None:
        """Send the first process a signal, as a platform does."""
        self._process.send_signal(number)

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)

    def exit_code(self, within_s: float = HANG_S) -> int:
        """Wait for the end."""
        return self._process.wait(timeout=within_s)

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None


def _parsed(text: str) -> dict[str, Any]:
    try:
        return json.loads(text)
    except ValueError:
        return {"text": text}
