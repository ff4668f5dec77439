"""Workloads of the benchmark, as requests in bytes."""

import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.ledger.benchmarks.books import AMOUNT, PASSWORD, Books

Requests = Iterator[bytes]
# Of this process: no two requests have the same key.
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Workload:
    """withdraws, transfers: whether each answer is one, for the audit."""

    name: str
    title: str
    requests: Callable[[Books, random.Random], Requests]
    withdraws: bool = False
    transfers: bool = False

    def acknowledge(self, books: Books, answers: int) -> None:
        """Write down what the server has promised."""
        books.withdrawals += answers * self.withdraws
        books.transfers += answers * self.transfers


def request(
    method: str, path: str, token: str | None = None, body: dict[str, Any] | None = None, key: str = ""
) -> bytes:
    """Return an HTTP/1.1 request, as a proxy that ends TLS passes it on."""
    content = b"" if body is None else json.dumps(body).encode()
    headers = {
        "Host": "127.0.0.1",
        "Accept": "application/json",
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Proto": "https",
        **({"Authorization": f"Token {token}"} if token else {}),
        **({"Content-Type": "application/json", "Content-Length": str(len(content))} if body is not None else {}),
        **({"Idempotency-Key": key} if key else {}),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + content


def keyed(path: str, books: Books, **body: Any) -> tuple[bytes, bytes]:
    """Return a money request in two halves, between which its key belongs: building it anew would cost more than sending."""
    mark = "KEY-GOES-HERE"
    before, after = request("POST", path, books.token, {"amount": str(AMOUNT)} | body, mark).split(mark.encode())
    return before, after


def _money(halves: list[tuple[bytes, bytes]], random_: random.Random) -> Requests:
    while True:
        before, after = random_.choice(halves)
        yield b"%sbench-%d%s" % (before, next(_numbers), after)


def withdraw(books: Books, random_: random.Random) -> Requests:
    return _money([keyed(f"/api/v1/accounts/{account}/withdrawals/", books) for account in books.accounts], random_)


def withdraw_hot(books: Books, random_: random.Random) -> Requests:
    return _money([keyed(f"/api/v1/accounts/{books.accounts[0]}/withdrawals/", books)], random_)


def transfer(books: Books, random_: random.Random) -> Requests:
    halves = []
    for source in books.accounts:
        destination = random_.choice([account for account in books.accounts[:50] if account != source])
        halves.append(keyed(f"/api/v1/accounts/{source}/transfers/", books, destination=destination))
    return _money(halves, random_)


def account(books: Books, random_: random.Random) -> Requests:
    asked = [request("GET", f"/api/v1/accounts/{account}/", books.token) for account in books.accounts]
    while True:
        yield random_.choice(asked)


def list_first(books: Books, random_: random.Random) -> Requests:
    return itertools.repeat(
        request("GET", f"/api/v1/accounts/{books.long_account}/transactions/?limit=50", books.token)
    )


def list_deep(books: Books, random_: random.Random) -> Requests:
    path = f"/api/v1/accounts/{books.long_account}/transactions/?limit=50&cursor={books.deep_cursor}"
    return itertools.repeat(request("GET", path, books.token))


def log_in(books: Books, random_: random.Random) -> Requests:
    asked = [
        request("POST", "/api/token/", body={"username": username, "password": PASSWORD})
        for username in books.usernames
    ]
    return itertools.cycle(asked)


def alive(books: Books, random_: random.Random) -> Requests:
    return itertools.repeat(request("GET", "/livez/"))


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("withdraw", "Withdraw, from {accounts:,} accounts", withdraw, withdraws=True),
        Workload("hot", "Withdraw, from one account", withdraw_hot, withdraws=True),
        Workload("transfer", "Transfer, between {accounts:,} accounts", transfer, transfers=True),
        Workload("account", "Read an account", account),
        Workload("list", "List 50 of {entries:,} entries, the first page", list_first),
        Workload("deep", "List 50 of {entries:,} entries, a tenth from the end", list_deep),
        Workload("login", "Log in (Argon2id)", log_in),
        Workload("empty", "No work: /livez/", alive),
    )
}
