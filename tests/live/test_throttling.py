"""Requests a minute against a real gunicorn with production's settings: two workers, one Redis, exact numbers."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from apps.core.throttling import WINDOW_S
from tests.factories import UserFactory, token_of
from tests.support.databases import database_url
from tests.support.patience import HANG_S
from tests.support.production import HTTPS, ME, PRODUCTION, Answer, ask
from tests.support.redis_server import RedisServer
from tests.support.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

USER, ANONYMOUS = 40, 20
CLIENTS = 12
TRIES = 5


def within_one_minute(ask: Callable[[], None]) -> None:
    """Let all of it happen in one of the clock's minutes, each of which counts anew; once more where one ended meanwhile."""
    for _ in range(TRIES):
        minute = time.time() // WINDOW_S
        try:
            ask()
        except AssertionError:
            if minute == time.time() // WINDOW_S:
                raise
        if minute == time.time() // WINDOW_S:
            return
        time.sleep(WINDOW_S - time.time() % WINDOW_S)
    raise AssertionError(f"not in a minute, {TRIES} times")


def at_once(send: Callable[[], Answer], count: int) -> list[Answer]:
    with ThreadPoolExecutor(CLIENTS) as pool:
        return [future.result() for future in [pool.submit(send) for _ in range(count)]]


def statuses(answers: list[Answer]) -> Counter[int]:
    return Counter(answer.status for answer in answers)


def count_lines(server: Server, words: str) -> int:
    return sum(words in line["event"] for line in server.lines() if line.get("logger") == "apps.core.throttling")


def test_exactly_so_many_pass_and_all_when_there_is_nothing_to_count_in(tmp_path):
    url = database_url()
    user = UserFactory()
    tokens = [token_of(user) for _ in range(2)]
    connection.close()
    environment = PRODUCTION | {
        "DATABASE_URL": url,
        "DRAIN_SECONDS": "0",
        "NUM_PROXIES": "1",
        "THROTTLE_USER_PER_MINUTE": str(USER),
        "THROTTLE_ANONYMOUS_PER_MINUTE": str(ANONYMOUS),
    }
    with (
        RedisServer() as redis,
        Server(url, tmp_path / "log", workers=2, threads=4, **environment, REDIS_URL=redis.url) as server,
    ):

        def customer(token: str = tokens[0]) -> Answer:
            return ask(server, ME, Authorization=f"Token {token}", **HTTPS)

        def nobody() -> Answer:
            return ask(server, ME, Authorization="Token tok_forged", X_Forwarded_For="203.0.113.9", **HTTPS)

        def counted_exactly() -> None:
            users = at_once(customer, 3 * USER)
            assert statuses(users) == {200: USER, 429: 2 * USER}
            strangers = at_once(nobody, 3 * ANONYMOUS)
            assert statuses(strangers) == {401: ANONYMOUS, 429: 2 * ANONYMOUS}

            refusal = next(answer for answer in users if answer.status == 429)
            assert refusal.code == "throttled"
            assert 1 <= int(refusal.headers["Retry-After"]) <= WINDOW_S
            # Another token of a user counts for the same user; another address counts for itself, whatever its headers.
            assert customer(tokens[1]).status == 429
            assert ask(server, ME, X_Forwarded_For="203.0.113.9, 203.0.113.10", **HTTPS).status == 401
            assert ask(server, "/api/token/", "POST", X_Forwarded_For="203.0.113.9", **HTTPS).status == 429
            assert {ask(server, path).status for path in ("/ping/", "/livez/", "/readyz/") for _ in range(25)} == {200}

        within_one_minute(counted_exactly)
        redis.kill()
        assert statuses(at_once(customer, 2 * USER)) == {200: 2 * USER}
        assert statuses(at_once(nobody, 2 * ANONYMOUS)) == {401: 2 * ANONYMOUS}

        redis.start()
        deadline = time.monotonic() + HANG_S
        # Each worker finds out for itself, by somebody else's request.
        while count_lines(server, "answers again") < count_lines(server, "pass uncounted"):
            assert time.monotonic() < deadline
            nobody()

        def counted_again() -> None:
            assert statuses(at_once(customer, 2 * USER)) == {200: USER, 429: USER}

        within_one_minute(counted_again)

    assert server.complaints() == []
    assert 1 <= count_lines(server, "pass uncounted") <= 2
