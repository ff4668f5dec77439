"""AWS over HTTP: moto's server in a process of its own, and servers with scripted answers, with none, and out of reach."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config

from tests.support.paths import ROOT
from tests.support.patience import HANG_S

REGION = "eu-west-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDTESTING", "AWS_SECRET_ACCESS_KEY": "canary-aws-secret-access-key"}


def environment(url: str) -> dict[str, str]:
    """Return the SDK's environment variables; nothing of this machine's own AWS."""
    nothing = {"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}
    return {"AWS_ENDPOINT_URL": url, "AWS_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true"} | CREDENTIALS | nothing


class Moto:
    """moto's server on a free port of 127.0.0.1; `settings` are variables of moto's own."""

    def __init__(self, log: Path, **settings: str) -> None:
        self._log, self._settings = log, settings

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.moto_server", "-H", "127.0.0.1", "-p", "0"],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env=os.environ | self._settings,  # noqa: TID251  the child's is ours with some changed
            )
        deadline = time.monotonic() + HANG_S
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", self._log.read_text())):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise AssertionError(f"moto did not start:\n{self._log.read_text()}")
            time.sleep(0.05)
        self.url = found[0]
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=HANG_S)

    @cached_property
    def client(self) -> Any:
        return boto3.session.Session().client(
            "secretsmanager",
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"total_max_attempts": 1}),
        )

    def put(self, name: str, secret: Mapping[str, str] | str | bytes) -> None:
        """Make the secret, or give it another current version."""
        text = json.dumps(secret) if isinstance(secret, Mapping) else secret
        value = {"SecretBinary": text} if isinstance(text, bytes) else {"SecretString": text}
        client = self.client
        try:
            client.create_secret(Name=name, **value)
        except client.exceptions.ResourceExistsException:
            client.put_secret_value(SecretId=name, **value)


class Scripted:
    """A Secrets Manager with scripted responses, of which the last repeats; `asked` holds the requests' bodies."""

    def __init__(self, *answers: tuple[int, dict[str, Any]]) -> None:
        self.asked: list[dict[str, Any]] = []
        waiting = list(answers)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                outer.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                status, body = waiting.pop(0) if len(waiting) > 1 else waiting[0]
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Silent:
    """A server that accepts every connection and sends nothing; `connections` counts them."""

    def __enter__(self) -> Self:
        self.connections = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._take)
        self._thread.start()
        return self

    def _take(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._closing:
                connection.close()
                return
            self.connections += 1
            self._open.append(connection)

    _closing = False

    def __exit__(self, *exc_info: object) -> None:
        self._closing = True
        with socket.create_connection(self._listener.getsockname()):
            self._thread.join()
        for connection in [*self._open, self._listener]:
            connection.close()


@contextlib.contextmanager
def unreachable() -> Iterator[str]:
    """A server whose queue is full: the kernel drops further connections, as a firewall does."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            guest = stack.enter_context(socket.socket())
            guest.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                guest.connect(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
