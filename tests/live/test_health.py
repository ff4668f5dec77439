"""Probes of a live server whose database is away, silent, or not migrated."""

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from tests.support.client import Client, Request, once
from tests.support.metrics_endpoint import read, scrape
from tests.support.migrations import last_migration
from tests.support.patience import eventually
from tests.support.server import Server
from tests.support.tcp_relay import TcpRelay

PING, LIVEZ, READYZ = (Request("GET", path) for path in ("/ping/", "/livez/", "/readyz/"))
NEEDS_THE_DATABASE = Request("POST", "/api/token/", {"username": "ada", "password": "wrong"})
THREADS = 5


@pytest.fixture(scope="module")
def line(django_db_setup) -> Iterator[TcpRelay]:
    """A TCP relay from the server to the test database."""
    of = connection.settings_dict
    port = int(of["PORT"] or 5432)
    with TcpRelay(f"{of['HOST']}/.s.PGSQL.{port}" if of["HOST"].startswith("/") else (of["HOST"], port)) as line:
        yield line


@pytest.fixture(scope="module")
def server(line, tmp_path_factory) -> Iterator[Server]:
    """A server with one worker, started without a database: /livez/ must not need one."""
    of = connection.settings_dict
    user = ":".join(quote(of[name]) for name in ("USER", "PASSWORD") if of[name])
    host, port = line.address
    url = f"postgres://{user}@{host}:{port}/{of['NAME']}"
    server = Server(url, tmp_path_factory.mktemp("gunicorn") / "log", workers=1, threads=THREADS)
    server.launch()
    try:
        server.wait_until_it_answers("/livez/")
        yield server
    finally:
        server.__exit__()
    assert server.complaints() == []


def assert_it_lives(server: Server) -> None:
    """Assert that each of twenty /livez/ probes succeeds while the database does not answer."""
    with Client(server.address, token=None) as client:
        answers = [client.send(LIVEZ) for _ in range(20)]
    assert {(answer.status, answer.body["status"]) for answer in answers} == {(200, "ok")}
    print(f"slowest of twenty /livez/: {max(answer.elapsed_s for answer in answers) * 1000:.1f} ms")


def in_progress(server: Server) -> float:
    return read(scrape(server.metrics_address))["app_requests_in_progress", frozenset()]


@contextlib.contextmanager
def waiting(server: Server, count: int) -> Iterator[None]:
    """Keep so many requests waiting for the database during the block, and see that they do."""
    over = threading.Event()

    def wait() -> None:
        with Client(server.address, token=None) as client:
            while not over.is_set():
                assert client.send(NEEDS_THE_DATABASE).status == 503

    with ThreadPoolExecutor(count) as pool:
        threads = [pool.submit(wait) for _ in range(count)]
        try:
            eventually(lambda: in_progress(server) >= count)
            yield
            eventually(lambda: in_progress(server) >= count)
        finally:
            over.set()
        for thread in threads:
            thread.result()


def test_a_database_that_refuses_is_told_at_once_and_the_process_lives(server, line):
    line.refuse()

    answer = once(server.address, None, PING)

    assert (answer.status, answer.body) == (503, {"pong": True, "db": "unavailable"})
    assert_it_lives(server)


def test_a_database_that_is_silent_is_told_and_the_process_lives_while_all_other_threads_wait(server, line):
    line.mute()
    # One thread waits for the answer to /ping/, and one is left.
    with waiting(server, THREADS - 2), ThreadPoolExecutor(1) as pool:
        pinged = pool.submit(once, server.address, None, PING)
        assert_it_lives(server)
        # The database is silent still, and would be for longer than anybody here waits.
        answer = pinged.result()

    print(f"/ping/: {answer.elapsed_s:.2f} s")
    assert (answer.status, answer.body) == (503, {"pong": True, "db": "unavailable"})


@pytest.mark.django_db(transaction=True)
def test_a_database_that_comes_back_without_a_migration_is_reached_and_not_ready(server, line):
    recorder, last = MigrationRecorder(connection), last_migration("users")
    line.refuse()
    assert once(server.address, None, READYZ).body["checks"]["database"] == "unavailable"
    recorder.record_unapplied(*last)
    try:
        line.connect()
        reached, behind = once(server.address, None, PING), once(server.address, None, READYZ)
    finally:
        recorder.record_applied(*last)
    ready = once(server.address, None, READYZ)

    assert (reached.status, reached.body) == (200, {"pong": True, "db": "ok"})
    assert (behind.status, behind.body["checks"]) == (
        503,
        {"server": "ok", "database": "ok", "migrations": "pending"},
    )
    assert (ready.status, ready.body["status"]) == (200, "ok")
