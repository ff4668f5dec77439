"""TCP relay to a database: a test cuts it, silences it, and connects it again."""

import contextlib
import socket
import threading
from typing import Self

from tests.support.client import Address


class TcpRelay:
    """A port of 127.0.0.1 that relays to a PostgreSQL; at first it refuses connections.

    target: the server's address: the path of a Unix socket, or host and port.
    """

    def __init__(self, target: str | Address) -> None:
        self._target = target
        # Bound and not listening: the port stays ours, and connections are refused meanwhile.
        self._reserved = self._bound()
        self._listener: socket.socket | None = None
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @property
    def address(self) -> Address:
        return self._reserved.getsockname()

    def connect(self) -> None:
        """Relay to the server."""
        self._listen()
        self._start(self._accept, self._listener)

    def mute(self) -> None:
        """Accept every connection, and send nothing."""
        self._listen()

    def refuse(self) -> None:
        """Cut all connections, and refuse new ones."""
        # The one that accepts ends first: then each connection that it has accepted is in the list.
        for sockets, threads in (
            ([self._listener] if self._listener else [], self._threads[:1]),
            (self._sockets, self._threads),
        ):
            for each in sockets:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
            for thread in threads:
                thread.join(timeout=5)
        self._listener, self._sockets, self._threads = None, [], []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.refuse()
        self._reserved.close()

    def _bound(self) -> socket.socket:
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(self.address if hasattr(self, "_reserved") else ("127.0.0.1", 0))
        return bound

    def _listen(self) -> None:
        self.refuse()
        self._listener = self._bound()
        self._listener.listen(128)

    def _start(self, target, *args) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET)
            server.connect(self._target)
            self._sockets += [client, server]
            self._start(self._pass_on, client, server)
            self._start(self._pass_on, server, client)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
