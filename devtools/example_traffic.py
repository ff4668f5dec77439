"""Example traffic: customers who send requests for a minute, so that graphs and pictures have data.

    python -m devtools.example_traffic [--url http://127.0.0.1:8000] [--seconds 60] [--customers 4] [--seed N]

Customers sign up, log in, look at themselves and mistype; what they do beside that is in the modules `<app>_traffic` of this
folder. The amount of traffic is bounded, and the same seed sends the same requests but for the ids. Sign-up must be open.
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
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Protocol
from urllib.parse import urlsplit

from devtools.daemon import DevtoolsError

PASSWORD = "correct horse battery staple"  # noqa: S105  of users who are made up
# Once a run: one more than the failures allowed for one user name and address in 15 minutes, and a tenth of those
# allowed for an address, so that a few runs in a row do not lock this machine out.
WRONG_PASSWORDS = 11
PAUSE_S = 0.05

WeightedActions = tuple[tuple[int, Callable[[], None]], ...]


class AppActivity(Protocol):
    """What customers do with one app: class `Activity` of a module `<app>_traffic`."""

    weighted_actions: WeightedActions

    def __init__(self, customer: "Customer", rng: random.Random) -> None: ...

    def begin(self) -> None:
        """Create what the actions need; the customer has signed up and logged in."""


def activities() -> list[type[AppActivity]]:
    """Return the apps' classes."""
    names = sorted(
        module.name for module in iter_modules([str(Path(__file__).parent)]) if module.name.endswith("_traffic")
    )
    modules = [import_module(f"devtools.{name}") for name in names if name != Path(__file__).stem]
    return [module.Activity for module in modules]


class Customer:
    """One customer on one connection."""

    def __init__(self, address: tuple[str, int], rng: random.Random) -> None:
        self._connection = http.client.HTTPConnection(*address, timeout=20)
        self._rng = rng
        self._token = ""
        self.name = f"traffic-{uuid.uuid4()}"
        self.statuses: Counter[int] = Counter()
        self._activities = [activity(self, rng) for activity in activities()]
        # Each action with its weight: how often of a hundred a customer takes it.
        self._weighted_actions: WeightedActions = (
            (3, self._read_own_user),
            (2, self.log_in),
            (1, self._request_unknown_url),
            *(action for activity in self._activities for action in activity.weighted_actions),
        )
        actions = [action for _, action in self._weighted_actions]
        # Each action once, in random order, before any is chosen by its weight.
        self.first_actions = rng.sample(actions, len(actions))

    def send(self, method: str, path: str, body: dict[str, Any] | None = None, *, key: str = "") -> Any:
        """Send a request, count the status of its response, and return the body."""
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Token {self._token}"
        if key:
            headers["Idempotency-Key"] = key
        self._connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = self._connection.getresponse()
        text = response.read()
        self.statuses[response.status] += 1
        return json.loads(text) if "json" in (response.getheader("Content-Type") or "") else None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def log_in(self, password: str = PASSWORD) -> None:
        """Request a new token and use it from now on."""
        self._token = ""
        answer = self.send("POST", "/api/token/", {"username": self.name, "password": password})
        self._token = answer.get("token", "")

    def sign_up(self) -> None:
        """Sign up, log in, and begin with each app."""
        signed_up = self.send("POST", "/api/v1/users/", {"username": self.name, "password": PASSWORD})
        if "id" not in signed_up:
            raise DevtoolsError(f"cannot sign up: {signed_up.get('detail')} (SIGN_UP_OPEN opens it)")
        self.log_in()
        for activity in self._activities:
            activity.begin()

    def act(self) -> None:
        """Take one action: at first each once, then by weight."""
        if self.first_actions:
            action = self.first_actions.pop()
        else:
            weights, actions = zip(*self._weighted_actions, strict=True)
            action = self._rng.choices(actions, weights)[0]
        action()

    def fail_to_log_in(self) -> None:
        """Send wrong passwords until the login limit refuses them."""
        for _ in range(WRONG_PASSWORDS):
            self.log_in("hunter2")

    def _read_own_user(self) -> None:
        self.send("GET", "/api/v1/users/me/")

    def _request_unknown_url(self) -> None:
        self.send("GET", "/wp-login.php")


def run_customer(address: tuple[str, int], seed: int, ends_at: float) -> Counter[int]:
    """Act as one customer until `ends_at`, on time.monotonic()'s clock; return the count of each status."""
    with closing(Customer(address, random.Random(seed))) as customer:
        customer.sign_up()
        # Each action at least once, however slow the machine is.
        while customer.first_actions or time.monotonic() < ends_at:
            customer.act()
            time.sleep(PAUSE_S)
        return customer.statuses


def run_failed_logins(address: tuple[str, int]) -> Counter[int]:
    """Act as a customer with a forgotten password; return the count of each status."""
    with closing(Customer(address, random.Random())) as customer:
        customer.fail_to_log_in()
        return customer.statuses


def run(address: tuple[str, int], *, seconds: float, customers: int, seed: int) -> Counter[int]:
    """Send traffic of several customers at once; return the count of each status."""
    ends_at = time.monotonic() + seconds
    with ThreadPoolExecutor(customers + 1) as pool:
        results = [pool.submit(run_customer, address, seed + number, ends_at) for number in range(customers)]
        results.append(pool.submit(run_failed_logins, address))
        return sum((result.result() for result in results), Counter[int]())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="Send example traffic, so that graphs have data.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the application (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="for how long (default: %(default)s)")
    parser.add_argument("--customers", type=int, default=4, help="how many at once (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="for the random choices (default: %(default)s)")
    options = parser.parse_args(arguments)
    parts = urlsplit(options.url)
    address = (parts.hostname or "127.0.0.1", parts.port or 80)
    print(f"{options.customers} customers on {options.url} for {options.seconds:g} s", flush=True)
    try:
        statuses = run(address, seconds=options.seconds, customers=options.customers, seed=options.seed)
    except (DevtoolsError, OSError, http.client.HTTPException) as error:
        print(f"error: {error}: is the application up (`make up`)?", file=sys.stderr)
        return 1
    counts = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    print(f"{statuses.total()} responses: {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
