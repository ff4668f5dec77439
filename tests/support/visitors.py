"""Clients that use the service meanwhile, and count the answers."""

import random
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from apps.users.models import User
from tests.factories import PASSWORD, UserFactory, token_of
from tests.support.client import Address, Client, NoAnswer, Request

VISITORS = 4
SIGN_UPS = 0.1


class Visitors:
    """Clients that sign up and read, each request once and on a connection of its own, so that no retry hides a failure."""

    def __init__(self, address: Address, seed: int) -> None:
        self._address, self._seed = address, seed
        self._tokens = [token_of(UserFactory()) for _ in range(VISITORS)]
        self.answers: Counter[int | str] = Counter()
        self._count = threading.Lock()

    @contextmanager
    def visiting(self) -> Iterator[None]:
        """Let clients send requests for the length of the block, then compare the rows with their responses."""
        before, over = User.objects.count(), threading.Event()
        with ThreadPoolExecutor(VISITORS) as pool:
            visits: list[Future[None]] = [pool.submit(self._visit, number, over) for number in range(VISITORS)]
            try:
                yield
            finally:
                over.set()
            for each in visits:
                each.result()
        assert User.objects.count() - before == self.answers[201]

    @property
    def requests(self) -> int:
        return self.answers.total()

    def _visit(self, number: int, over: threading.Event) -> None:
        token, random_ = self._tokens[number], random.Random(self._seed + number)
        while not over.is_set():
            request = Request("GET", "/api/v1/users/me/")
            # Hashing a password takes a server's time.
            if random_.random() < SIGN_UPS:
                body = {"username": f"visitor-{uuid.uuid4()}", "password": PASSWORD}
                request = Request("POST", "/api/v1/users/", body)
            try:
                with Client(self._address, token) as client:
                    told: int | str = client.send(request).status
            except NoAnswer as error:
                told = str(error)
            with self._count:
                self.answers[told] += 1
