"""Prometheus without Docker: run it on this machine with the configuration of monitoring/prometheus/.

With Docker, Compose starts it instead. Standard library only: devtools/native.py imports it before the virtual
environment exists.
"""

# A command line tool's: it runs commands, without a shell.
# ruff: noqa: S603

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from devtools.daemon import ROOT, DevtoolsError

CONFIGURATION = ROOT / "monitoring" / "prometheus"
# Values in prometheus.yml that are right in a container and replaced here.
TARGET, RULES, INTERVAL = "app:9464", "rules/*.yml", "15s"
# Longer than the longest window of the rules; Prometheus' default is 15 days.
RETENTION = "35d"
READY_SECONDS = 30


def program(path: str | None = None) -> str:
    """Return the path of the prometheus program."""
    found = shutil.which("prometheus", path=path)
    if found is None:
        raise DevtoolsError(
            "there is no prometheus in the PATH: install it (on Debian and Ubuntu: apt"
            " install prometheus), or use Docker, which brings Grafana too"
        )
    return found


def configuration(target: str, *, interval: str = INTERVAL) -> str:
    """Return prometheus.yml with the target, rules path and interval of this machine."""
    text = (CONFIGURATION / "prometheus.yml").read_text()
    rules = json.dumps(str(CONFIGURATION / RULES))
    for name, here in ((TARGET, target), (RULES, rules), (INTERVAL, interval)):
        if name not in text:
            raise DevtoolsError(f"monitoring/prometheus/prometheus.yml does not contain {name}, which {here} replaces")
        text = text.replace(name, here)
    return text


def command(program: str, folder: Path, port: int) -> list[str]:
    """Return the command that starts Prometheus, with its configuration and data in a folder."""
    return [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--storage.tsdb.retention.time={RETENTION}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]


def wait_until_ready(port: int, is_alive: Callable[[], bool]) -> None:
    """Wait until Prometheus is ready. Raises: if it exits, or is not ready after READY_SECONDS."""
    deadline = time.monotonic() + READY_SECONDS
    while is_alive():
        with contextlib.suppress(OSError, http.client.HTTPException):
            if get(port, "/-/ready")[0] == http.HTTPStatus.OK:
                return
        if time.monotonic() > deadline:
            raise DevtoolsError(f"Prometheus does not answer on port {port} within {READY_SECONDS} s")
        time.sleep(0.1)
    raise DevtoolsError("Prometheus exited during its start")


def get(port: int, path: str, **parameters: str) -> tuple[int, bytes]:
    """Send GET to a port of this machine; return the status and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", f"{path}?{urlencode(parameters)}" if parameters else path)
        response = connection.getresponse()
        return response.status, response.read()


def api(port: int, path: str, **parameters: str) -> Any:
    """Return the data of a response of Prometheus' HTTP API. Raises: DevtoolsError with the API's error message."""
    status, body = get(port, f"/api/v1/{path}", **parameters)
    answer = json.loads(body)
    if status != http.HTTPStatus.OK or answer["status"] != "success":
        raise DevtoolsError(f"Prometheus: {answer.get('error', status)}: {parameters}")
    return answer["data"]


@contextlib.contextmanager
def prometheus(folder: Path, target: str, *, interval: str) -> Iterator[int]:
    """Run a Prometheus that scrapes a target during the block; yield its port."""
    (folder / "prometheus.yml").write_text(configuration(target, interval=interval))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    log = folder / "log"
    with log.open("ab") as output:
        process = subprocess.Popen(command(program(), folder, port), stdout=output, stderr=output)
    try:
        try:
            wait_until_ready(port, lambda: process.poll() is None)
        except DevtoolsError as error:
            raise DevtoolsError(f"{error}:\n{log.read_text()[-4000:]}") from error
        yield port
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
