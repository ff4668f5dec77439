"""Load generator: HTTP/1.1 over kept-alive connections, each of which sends its next request when it has its answer.

One thread and epoll, requests as bytes that are made beforehand, and no more parsing than a status and a length: tens of
microseconds a request, where a client library takes as much CPU as a server. It runs on the servers' cores, so what it takes
itself is measured too.
"""

import re
import resource
import select
import socket
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.client import Address
from tests.support.patience import HANG_S

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
LAST_CHUNK = b"\r\n0\r\n\r\n"
CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
LARGEST_READ = 1 << 18


class LoadError(Exception):
    """An answer that a benchmark must not count: a status other than 2xx, or none at all."""


@dataclass
class Load:
    """What one window of load gave. `latencies_ms`: of each answer. `resent`: requests on a connection that was closed."""

    seconds: float = 0.0
    client_cpu_s: float = 0.0
    resent: int = 0
    latencies_ms: array = field(default_factory=lambda: array("d"))

    @property
    def answers(self) -> int:
        return len(self.latencies_ms)


class Connection:
    """One kept-alive connection with at most one request in flight."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self.request = b""
        self.sent_at = 0.0
        self._received = b""
        self._length: int | None = None
        self._is_chunked = False
        self.open()

    def open(self) -> None:
        self.socket = socket.create_connection(self._address, timeout=HANG_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes) -> None:
        self.request, self._received, self._length, self._is_chunked = request, b"", None, False
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """Return the whole answer, or None while a part is missing. Raises: ConnectionError if it was closed before."""
        data = self.socket.recv(LARGEST_READ)
        if not data:
            raise ConnectionResetError("closed by the server")
        self._received += data
        if self._length is None and not self._is_chunked:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return None
            if length := LENGTH.search(self._received, 0, end + 2):
                self._length = end + 4 + int(length[1])
            elif CHUNKED.search(self._received, 0, end + 2):
                self._is_chunked = True
            else:
                raise LoadError(f"an answer without a length: {self._received[:300]!r}")
        if self._length is None:
            return self._received if self._received.endswith(LAST_CHUNK) else None
        return self._received if len(self._received) >= self._length else None


def send(address: Address, request: bytes) -> bytes:
    """Send one request on a connection of its own, and return the whole answer. Raises: LoadError for a status but 2xx."""
    connection = Connection(address)
    try:
        connection.send(request)
        while (answer := connection.receive()) is None:
            pass
    finally:
        connection.socket.close()
    refuse_failure(answer, request)
    return answer


def refuse_failure(answer: bytes, request: bytes) -> None:
    """Raise LoadError for a status other than 2xx: a server that refuses is quick."""
    if answer[9:10] != b"2":
        raise LoadError(f"{request[:80]!r} was answered {answer[:600]!r}")


def run(address: Address, requests: Iterator[bytes], *, connections: int, seconds: float) -> Load:
    """Send requests for so long on so many connections, and wait for the last answers.

    A request on a kept connection that the server closes without a byte is sent again with the same key, as a client would.
    Raises: LoadError for any status other than 2xx, and for silence.
    """
    load = Load()
    poll = select.epoll()
    clients: dict[int, Connection] = {}
    used = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    until = start + seconds

    def renew(client: Connection) -> None:
        del clients[client.socket.fileno()]
        client.socket.close()
        client.open()
        clients[client.socket.fileno()] = client
        poll.register(client.socket, select.EPOLLIN)

    try:
        for _ in range(connections):
            client = Connection(address)
            clients[client.socket.fileno()] = client
            poll.register(client.socket, select.EPOLLIN)
            client.send(next(requests))
        in_flight = connections
        while in_flight:
            ready = poll.poll(HANG_S)
            if not ready:
                raise LoadError(f"no answer in {HANG_S:g} s: {next(iter(clients.values())).request[:80]!r}")
            for descriptor, _ in ready:
                client = clients[descriptor]
                try:
                    answer = client.receive()
                except ConnectionError:
                    load.resent += 1
                    renew(client)
                    client.send(client.request)
                    continue
                if answer is None:
                    continue
                now = time.perf_counter()
                refuse_failure(answer, client.request)
                load.latencies_ms.append((now - client.sent_at) * 1000)
                if now >= until:
                    in_flight -= 1
                    continue
                if CLOSE.search(answer, 0, answer.find(b"\r\n\r\n")):
                    renew(client)
                client.send(next(requests))
    finally:
        poll.close()
        for client in clients.values():
            client.socket.close()
    load.seconds = time.perf_counter() - start
    now_used = resource.getrusage(resource.RUSAGE_SELF)
    load.client_cpu_s = now_used.ru_utime + now_used.ru_stime - used.ru_utime - used.ru_stime
    return load
