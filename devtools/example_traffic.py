"""A minute of a bank: customers who pay in, draw out, transfer, look, mistype and ask twice, so that graphs show something.

    traffic.py [--url http://127.0.0.1:8000] [--seconds 60] [--customers 4] [--seed N]

What it does is bounded, and repeats with the seed but for the ids. It signs customers up, so sign-up must be open.
"""

# A command line tool: it prints; its randomness is an example, not a secret.
# ruff: noqa: T201, S311

import argparse
import http.client
import json
import random
import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

PASSWORD = "correct horse battery staple"  # noqa: S105  of people who are made up
# One more than a user name may get wrong from one address in 15 minutes, once a run: a tenth of what the address may,
# so that nobody who tries this often locks the machine out.
WRONG_PASSWORDS = 11
PAUSE_S = 0.05
# How often, in a hundred, a customer looks at a statement, draws out, pays in, transfers, looks at an account, asks twice,
# wants too much, transfers to where it came from, loses the way, asks for an account of nobody's, and logs in again.
HABITS = (25, 20, 15, 15, 10, 6, 3, 2, 1, 1, 2)


class DevtoolsError(Exception):
    """What was asked for cannot be done; the message is for the person at the keyboard."""


class Customer:
    """One person on one connection, with two accounts."""

    def __init__(self, address: tuple[str, int], chance: random.Random) -> None:
        self._connection = http.client.HTTPConnection(*address, timeout=20)
        self._chance = chance
        self._token = ""
        self.name = f"traffic-{uuid.uuid4()}"
        self.seen: Counter[int] = Counter()
        self._accounts: list[str] = []
        self.to_do = chance.sample(range(len(HABITS)), len(HABITS))

    def send(self, method: str, path: str, body: dict[str, Any] | None = None, *, key: str = "") -> Any:
        """Ask, count the answer's status, and return its body."""
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Token {self._token}"
        if key:
            headers["Idempotency-Key"] = key
        self._connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = self._connection.getresponse()
        text = response.read()
        self.seen[response.status] += 1
        return json.loads(text) if "json" in (response.getheader("Content-Type") or "") else None

    def close(self) -> None:
        """Go home."""
        self._connection.close()

    def log_in(self, password: str = PASSWORD) -> None:
        """Ask for a token."""
        self._token = ""
        answer = self.send("POST", "/api/token/", {"username": self.name, "password": password})
        self._token = answer.get("token", "")

    def arrive(self) -> None:
        """Sign up, and open two accounts with something in them."""
        signed_up = self.send("POST", "/api/v1/users/", {"username": self.name, "password": PASSWORD})
        if "id" not in signed_up:
            raise DevtoolsError(f"cannot sign up: {signed_up.get('detail')} (SIGN_UP_OPEN opens it)")
        self.log_in()
        for name in ("Everyday", "Savings"):
            account = self.send("POST", "/api/v1/accounts/", {"currency": "USD", "name": name})["id"]
            self._accounts.append(account)
            self._move(account, "deposits", "1000.00")

    def _move(self, account: str, verb: str, amount: str, key: str = "", **more: str) -> None:
        body = {"amount": amount, **more}
        self.send("POST", f"/api/v1/accounts/{account}/{verb}/", body, key=key or str(uuid.uuid4()))

    def act(self) -> None:
        """Do one thing that customers do: at first each once, then by chance."""
        thing = self.to_do.pop() if self.to_do else self._chance.choices(range(len(HABITS)), HABITS)[0]
        chance = self._chance
        account, other = chance.sample(self._accounts, 2)
        path, amount = f"/api/v1/accounts/{account}/", f"{chance.randint(1, 2000) / 100:.2f}"
        match thing:
            case 0:
                self.send("GET", f"{path}transactions/?limit={chance.choice([5, 50])}")
            case 1:
                self._move(account, "withdrawals", amount)
            case 2:
                self._move(account, "deposits", amount)
            case 3:
                self._move(account, "transfers", amount, destination=other)
            case 4:
                self.send("GET", path)
            case 5:
                # An answer was lost on the way: the same again.
                key = str(uuid.uuid4())
                self._move(account, "withdrawals", "1.00", key)
                self._move(account, "withdrawals", "1.00", key)
            case 6:
                self._move(account, "withdrawals", "999999.00")
            case 7:
                self._move(account, "transfers", amount, destination=account)
            case 8:
                self.send("GET", "/wp-login.php")
            case 9:
                self.send("GET", f"/api/v1/accounts/{uuid.uuid4()}/")
            case _:
                self.log_in()

    def mistype(self) -> None:
        """Get the password wrong until it is refused unread, and give up."""
        for _ in range(WRONG_PASSWORDS):
            self.log_in("hunter2")


def live(address: tuple[str, int], seed: int, ends_at: float) -> Counter[int]:
    """Be a customer until then; return what was answered."""
    with closing(Customer(address, random.Random(seed))) as customer:
        customer.arrive()
        # Each thing at least once, however slow the machine is.
        while customer.to_do or time.monotonic() < ends_at:
            customer.act()
            time.sleep(PAUSE_S)
        return customer.seen


def forget(address: tuple[str, int]) -> Counter[int]:
    """Be somebody who has forgotten a password."""
    with closing(Customer(address, random.Random())) as customer:
        customer.mistype()
        return customer.seen


def run(address: tuple[str, int], *, seconds: float, customers: int, seed: int) -> Counter[int]:
    """Let customers do business for a while; return how often which status was answered."""
    ends_at = time.monotonic() + seconds
    with ThreadPoolExecutor(customers + 1) as pool:
        lives = [pool.submit(live, address, seed + number, ends_at) for number in range(customers)]
        lives.append(pool.submit(forget, address))
        return sum((life.result() for life in lives), Counter[int]())


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Let a few customers do business, so that graphs show something.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the application (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="for how long (default: %(default)s)")
    parser.add_argument("--customers", type=int, default=4, help="how many at once (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="what they choose (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    where = urlsplit(chosen.url)
    address = (where.hostname or "127.0.0.1", where.port or 80)
    print(f"{chosen.customers} customers on {chosen.url} for {chosen.seconds:g} s", flush=True)
    try:
        seen = run(address, seconds=chosen.seconds, customers=chosen.customers, seed=chosen.seed)
    except (DevtoolsError, OSError, http.client.HTTPException) as error:
        print(f"error: {error}: is the application up (`make up`)?", file=sys.stderr)
        return 1
    print(f"{seen.total()} answers: " + ", ".join(f"{count} x {status}" for status, count in sorted(seen.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
