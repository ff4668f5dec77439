"""HTTP client of the API that retries by the contract's rule: standard library only, to run in processes of its own."""

import http.client
import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from threading import Barrier
from typing import Any, Self

from tests.support.patience import HANG_S

Address = tuple[str, int]
TOO_MANY_REQUESTS, CONFLICT, SERVER_ERROR = 429, 409, 500


class NoAnswer(Exception):
    """The connection broke or stayed silent: the request may have had its effect, or not."""


@dataclass(frozen=True)
class Request:
    """A request that can be sent again: its key is part of it. min_version: the value of `Min-Version`."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    key: str | None = None
    min_version: int | None = None

    @classmethod
    def keyed(cls, path: str, body: dict[str, Any], key: str | None = None) -> Self:
        """Return a POST with an Idempotency-Key, a new one by default."""
        return cls("POST", path, body, key or str(uuid.uuid4()))


@dataclass(frozen=True)
class Answer:
    """A response. `tries`: the number of requests that it took."""

    status: int
    headers: dict[str, str]
    text: str
    elapsed_s: float
    tries: int = 1

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def code(self) -> str:
        """The problem's code; "ok" where there is none."""
        return "ok" if self.status < 400 else self.body["code"]

    @property
    def replayed(self) -> bool:
        return self.headers.get("idempotent-replayed") == "true"


class Client:
    """One customer on one kept-alive connection, which is opened again when it breaks."""

    def __init__(self, address: Address, token: str | None, timeout_s: float = HANG_S) -> None:
        self._token = token
        self.headers: dict[str, str] = {}
        self._connection = http.client.HTTPConnection(*address, timeout=timeout_s)

    def send(self, request: Request) -> Answer:
        """Send once. Raises: NoAnswer."""
        headers = {"Content-Type": "application/json"} | self.headers
        if self._token is not None:
            headers["Authorization"] = f"Token {self._token}"
        if request.key is not None:
            headers["Idempotency-Key"] = request.key
        if request.min_version is not None:
            headers["Min-Version"] = str(request.min_version)
        body = None if request.body is None else json.dumps(request.body)
        start = time.monotonic()
        try:
            self._connection.request(request.method, request.path, body, headers)
            response = self._connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise NoAnswer(type(error).__name__) from error
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, fields, text, time.monotonic() - start)

    def settle(self, request: Request) -> Answer:
        """Send until it is not 409: on a busy machine, a key or a row may be locked for longer than a request waits."""
        deadline = time.monotonic() + HANG_S
        while (answer := self.send(request)).status == CONFLICT and time.monotonic() < deadline:
            time.sleep(0.02)
        return answer

    def insist(
        self, request: Request, patience_s: float = HANG_S, seen: Callable[[Answer], None] | None = None
    ) -> Answer:
        """Send until there is a final answer: 409, 429, 5xx or none at all means the same key again, soon.

        seen: is called with every answer, final or not.
        """
        deadline = time.monotonic() + patience_s
        tries = 0
        while True:
            tries += 1
            try:
                answer = self.send(request)
            except NoAnswer:
                if time.monotonic() > deadline:
                    raise
            else:
                if seen:
                    seen(answer)
                final = answer.status < SERVER_ERROR and answer.status not in {CONFLICT, TOO_MANY_REQUESTS}
                if final or time.monotonic() > deadline:
                    return Answer(answer.status, answer.headers, answer.text, answer.elapsed_s, tries)
            time.sleep(0.02)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._connection.close()


def all_at_once(address: Address, token: str | None, requests: Sequence[Request]) -> list[Answer]:
    """Send every request on a thread and a connection of its own, all at once."""
    start = Barrier(len(requests))

    def run(request: Request) -> Answer:
        with Client(address, token) as client:
            # Opens the connection, so that only the request itself is left for the common start.
            client.send(Request("GET", "/livez/"))
            start.wait(timeout=HANG_S)
            return client.settle(request)

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(run, requests))


def one_after_the_other(address: Address, token: str | None, requests: Iterable[Request]) -> list[Answer]:
    """Send the requests on one connection."""
    with Client(address, token) as client:
        return [client.settle(request) for request in requests]


def once(address: Address, token: str | None, request: Request) -> Answer:
    return one_after_the_other(address, token, [request])[0]


def in_processes(
    address: Address, token: str, scripts: Sequence[Sequence[Request]], processes: int = 4
) -> list[Answer]:
    """Send each script in order; the scripts run at once, on threads of several processes."""
    shares = [scripts[number::processes] for number in range(processes)]
    # Spawned: a fork would take along locks and database connections of this one.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        done = pool.map(_share, [address] * processes, [token] * processes, shares)
        return [answer for answers in done for answer in answers]


def _share(address: Address, token: str, scripts: Sequence[Sequence[Request]]) -> list[Answer]:
    if not scripts:
        return []
    with ThreadPoolExecutor(len(scripts)) as pool:
        done = pool.map(lambda script: one_after_the_other(address, token, script), scripts)
        return [answer for answers in done for answer in answers]


def codes(answers: Iterable[Answer]) -> Counter[str]:
    return Counter(answer.code for answer in answers)
