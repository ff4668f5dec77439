"""Password guessing against a real gunicorn: the number of guesses that are checked, in every shape of a request."""

import http.client
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import NamedTuple

import pytest
from django.db.models import F

from apps.users.models import LoginFailures
from tests.factories import PASSWORD, UserFactory
from tests.live.guessed import counting_hasher
from tests.support.databases import database_url
from tests.support.patience import HANG_S
from tests.support.scale import crowds
from tests.support.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True), crowds]

HERE = "127.0.0.1"


@dataclass(frozen=True)
class Guess:
    """A password for a user name; it contains the address that the server should count it for."""

    username: str
    address: str
    forwarded_for: str
    password: str | None = None

    @property
    def body(self) -> str:
        return json.dumps({"username": self.username, "password": self.password or f"{self.username} {self.address}"})


class LoginServer:
    """Logins to a server, and the passwords that it checked."""

    def __init__(self, server: Server, checked: Path, *, proxies: int) -> None:
        self._server, self._checked, self.proxies = server, checked, proxies

    def guess(self, guesses: Iterable[Guess], *, clients: int) -> Counter[int]:
        """Send them over so many connections, which all start at the same moment; return the statuses."""
        start, guesses = Barrier(clients), list(guesses)

        def send(mine: list[Guess]) -> Counter[int]:
            connection = http.client.HTTPConnection(*self._server.address, timeout=HANG_S)
            connection.connect()
            start.wait(timeout=HANG_S)
            statuses = Counter(self._send(connection, guess)[0] for guess in mine)
            connection.close()
            return statuses

        with ThreadPoolExecutor(clients) as pool:
            return sum(pool.map(send, [guesses[n::clients] for n in range(clients)]), Counter())

    def log_in(self, username: str, address: str = HERE) -> tuple[int, int]:
        """Send the right password; return the status and the seconds to wait."""
        connection = http.client.HTTPConnection(*self._server.address, timeout=HANG_S)
        try:
            return self._send(connection, Guess(username, address, address, PASSWORD))
        finally:
            connection.close()

    def _send(self, connection: http.client.HTTPConnection, guess: Guess) -> tuple[int, int]:
        headers = {"Content-Type": "application/json", "X-Forwarded-For": guess.forwarded_for}
        connection.request("POST", "/api/token/", guess.body, headers)
        response = connection.getresponse()
        response.read()
        return response.status, int(response.headers.get("Retry-After", 0))

    def checked(self, *, right: bool = False) -> list[tuple[str, ...]]:
        """List the words of each password that reached the hasher since the last call: guesses, or right ones.

        Those of a guess are the name and the address.
        """
        lines = self._checked.read_text().splitlines()
        self._checked.write_text("")
        assert all((line == PASSWORD) is right for line in lines)
        return [tuple(line.split(" ")) for line in lines]


@pytest.fixture(scope="module", params=[0, 1], ids=["no proxy", "one proxy"])
def login(request, django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[LoginServer]:
    directory = tmp_path_factory.mktemp("guessing")
    checked = directory / "checked"
    checked.touch()
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.live.guessed.test",
        "NUM_PROXIES": str(request.param),
        counting_hasher.FILE: str(checked),
    }
    with django_db_blocker.unblock():
        url = database_url()
    with Server(url, directory / "log", workers=2, threads=16, **environment) as server:
        yield LoginServer(server, checked, proxies=request.param)
    assert server.complaints() == []


def through(login: LoginServer, claimed: str, address: str = HERE) -> tuple[str, str]:
    """Return the address that counts and the header: the client's claim, and the proxy's addition where there is one."""
    return (address, f"{claimed}, {address}") if login.proxies else (HERE, claimed)


def spread(number: int) -> str:
    return f"198.18.{number // 250 % 250}.{number % 250}"


def one_address(login: LoginServer, name: str, count: int) -> list[Guess]:
    return [Guess(name, *through(login, HERE))] * count


def spoofed_addresses(login: LoginServer, name: str, count: int) -> list[Guess]:
    return [Guess(name, *through(login, spread(number))) for number in range(count)]


def ports_of_one_address(login: LoginServer, name: str, count: int) -> list[Guess]:
    """A proxy that writes the port, too, which is another for each connection."""
    guesses = spoofed_addresses(login, name, count)
    return [replace(guess, forwarded_for=f"{guess.forwarded_for}:{1024 + n}") for n, guess in enumerate(guesses)]


def many_users(login: LoginServer, name: str, count: int) -> list[Guess]:
    """Each of a thousand names, ours among them, in turn."""
    names = [name, *(f"name-{number}" for number in range(999))]
    return [Guess(names[number % 1_000], *through(login, HERE)) for number in range(count)]


def many_addresses(login: LoginServer, name: str, count: int) -> list[Guess]:
    """A botnet: no address is used often. Without a proxy there is one address, whatever X-Forwarded-For holds."""
    return [Guess(name, *through(login, HERE, spread(number))) for number in range(count)]


class Shape(NamedTuple):
    """A shape of an attack: its connections, and the number of guesses checked without a proxy and with one."""

    guesses: Callable[[LoginServer, str, int], list[Guess]]
    clients: int
    checks: tuple[int, int]


SHAPES = {
    "one address": Shape(one_address, 2, (10, 10)),
    "spoofed addresses": Shape(spoofed_addresses, 4, (10, 10)),
    "ports of one address": Shape(ports_of_one_address, 4, (10, 10)),
    "many users": Shape(many_users, 8, (100, 100)),
    "many addresses": Shape(many_addresses, 8, (10, 100)),
    "all at once": Shape(one_address, 32, (10, 10)),
}


def assert_few_are_checked(login: LoginServer, shape: Shape, count: int) -> None:
    LoginFailures.objects.all().delete()
    user, checks = UserFactory(), shape.checks[login.proxies]

    statuses = login.guess(shape.guesses(login, user.username, count), clients=shape.clients)

    checked = login.checked()
    assert len(checked) == checks
    assert statuses == Counter({400: checks, 429: count - checks})
    assert max(Counter(checked).values()) <= 10
    assert max(Counter(name for name, _ in checked).values()) <= 100
    assert max(Counter(address for _, address in checked).values()) <= 100
    # Nothing is checked, and a quarter of an hour later all is as it was: the rows age here, not the clock.
    status, wait_s = login.log_in(user.username)
    assert (status, 0 < wait_s <= 900) == (429, True)
    assert login.checked(right=True) == []
    LoginFailures.objects.update(window_ends_at=F("window_ends_at") - timedelta(minutes=15))
    assert login.log_in(user.username) == (200, 0)
    assert len(login.checked(right=True)) == 1


def test_few_guesses_are_ever_checked(login):
    for shape in SHAPES.values():
        assert_few_are_checked(login, shape, count=max(shape.checks) + 10)


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_few_of_ten_thousand_guesses_are_ever_checked(login, shape):
    assert_few_are_checked(login, shape, count=10_000 // len(SHAPES))


@pytest.mark.long
def test_who_is_elsewhere_is_not_locked_out_by_an_address(login):
    LoginFailures.objects.all().delete()
    user = UserFactory()
    login.guess(many_users(login, user.username, 101), clients=8)

    assert login.log_in(user.username)[0] == 429
    # Without a proxy these requests all come from one address, whatever they claim.
    assert login.log_in(user.username, "203.0.113.9")[0] == (200 if login.proxies else 429)
