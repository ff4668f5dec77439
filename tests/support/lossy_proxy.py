"""TCP proxy that loses responses: the request takes effect, and the client gets no answer."""

import contextlib
import random
import socket
import threading
from typing import Self

from tests.support.client import Address


class LossyProxy:
    """Passes every request on, and breaks the connection in place of some of the answers.

    An answer is dropped when its first bytes have arrived here, so after the commit. lost: the number dropped so far.
    """

    def __init__(self, upstream: Address, *, loss: float, seed: int) -> None:
        self.lost = 0
        self._upstream = upstream
        self._loss = loss
        self._random = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @property
    def address(self) -> Address:
        return self._listener.getsockname()

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for each in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(timeout=5)

    def _start(self, target, *args) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._upstream)
            self._sockets += [client, server]
            self._start(self._pass_on, client, server, False)
            self._start(self._pass_on, server, client, True)

    def _pass_on(self, source: socket.socket, target: socket.socket, lossy: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if lossy and data.startswith(b"HTTP/") and self._random.random() < self._loss:
                    self.lost += 1
                    break
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
