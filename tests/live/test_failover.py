"""Failover to a real standby while gunicorn serves: clients get 503 meanwhile, then are served without a restart."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator

import psycopg
import pytest

from apps.database.postgresql.base import READ_ONLY_CONNECTION_MAX_AGE_S
from tests.support.client import Answer, Client, Request
from tests.support.password_postgres import PasswordPostgres
from tests.support.paths import ROOT
from tests.support.patience import HANG_S
from tests.support.server import Server
from tests.support.standby import Pair, reload

pytestmark = pytest.mark.slow

THREADS = 3
READYZ = Request("GET", "/readyz/")
ME = Request("GET", "/api/v1/users/me/")
LOG_IN = Request("POST", "/api/token/", {"username": "ada", "password": "correct horse battery staple"})
SIGN_UP = Request("POST", "/api/v1/users/", LOG_IN.body)


def only_read(server: psycopg.Connection, state: str) -> None:
    """Make the server read-only, as before a planned failover, and wait until its sessions have the setting."""
    server.execute(f"ALTER SYSTEM SET default_transaction_read_only = {state}")
    reload(server)
    while server.execute("SHOW default_transaction_read_only").fetchone() != (state,):
        time.sleep(0.01)


@pytest.fixture(scope="module")
def primary(tmp_path_factory) -> Iterator[PasswordPostgres]:
    with PasswordPostgres(tmp_path_factory.mktemp("failover")) as primary:
        yield primary


@pytest.fixture(scope="module")
def migrated(primary) -> None:
    given = {"DJANGO_SETTINGS_MODULE": "config.settings.test", "TEST_DATABASE_URL": primary.url("first")}
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity=0"],
        cwd=ROOT,
        env=os.environ | given,  # noqa: TID251  the child's is ours with some changed
        check=True,
    )


class Customer:
    """A user who signs up others; retries follow the contract's rule."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.token = None
        assert self.send(SIGN_UP).status in {201, 400}
        self.token = self.send(LOG_IN).body["token"]

    def send(self, request: Request) -> Answer:
        with Client(self.server.address, token=self.token) as client:
            return client.send(request)

    def sign_up(self) -> Request:
        """Return a request that succeeds once: then the name is taken."""
        return Request("POST", "/api/v1/users/", LOG_IN.body | {"username": f"eve-{uuid.uuid4()}"})

    def is_signed_up(self, sign_up: Request) -> bool:
        """Return whether the sign-up was committed, by a write that changes nothing."""
        answer = self.send(sign_up)
        return answer.status == 400 and answer.body["errors"][0]["code"] == "unique"

    def until(self, status: int, request: Request) -> list[Answer]:
        """Send the same again and again, and return all answers, of which the last has the status."""
        answers, start = [], time.monotonic()
        while not answers or answers[-1].status != status:
            assert time.monotonic() - start < HANG_S, [(answer.status, answer.text) for answer in answers[-3:]]
            answers.append(self.send(request))
        return answers


def sessions(server: psycopg.Connection) -> set[int]:
    rows = server.execute("SELECT pid FROM pg_stat_activity WHERE usename = 'web' AND backend_type = 'client backend'")
    return {pid for (pid,) in rows.fetchall()}


def test_a_database_that_only_reads_and_writes_again(primary, migrated, tmp_path):
    with Server(primary.url("first"), tmp_path / "log", workers=1, threads=THREADS) as server:
        ada = Customer(server)
        assert ada.send(READYZ).status == 200
        kept = sessions(primary.owner)
        sign_up = ada.sign_up()

        only_read(primary.owner, "on")
        try:
            for request in (sign_up, LOG_IN) * THREADS:
                refused = ada.send(request)
                assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "unavailable", "5")
            not_ready = ada.send(READYZ)
            assert (not_ready.status, not_ready.body["checks"]["database"]) == (503, "read_only")
            assert ada.send(ME).status == 200
            assert not kept & sessions(primary.owner)
        finally:
            only_read(primary.owner, "off")
        start = time.monotonic()
        ready, done = ada.until(200, READYZ), ada.until(201, sign_up)
        took_s = time.monotonic() - start

        print(f"ready after {len(ready)} questions, signed up after {len(done)}, {took_s:.2f} s")
        assert took_s < HANG_S
        assert ada.is_signed_up(sign_up)
        assert server.complaints() == []


def test_a_failover_that_leaves_connections_on_the_old_primary(primary, migrated, tmp_path):
    with Pair(primary) as pair, Server(pair.url, tmp_path / "log", workers=1, threads=THREADS) as server:
        ada = Customer(server)
        assert ada.send(READYZ).status == 200
        before, after = ada.sign_up(), ada.sign_up()
        assert ada.send(before).status == 201
        pair.wait_for_replay()
        kept = sessions(primary.owner)
        assert kept

        only_read(primary.owner, "on")
        pair.promote()
        start = time.monotonic()
        answers = ada.until(201, after)
        ready = ada.until(200, READYZ)
        took_s = time.monotonic() - start

        print(f"sign-up: {[answer.status for answer in answers]}, ready after {len(ready)}, {took_s:.2f} s")
        assert {answer.status for answer in answers[:-1]} <= {503}
        assert len(answers) <= THREADS + 1
        assert took_s < HANG_S
        # None of its threads reads from the old one any more.
        time.sleep(READ_ONLY_CONNECTION_MAX_AGE_S)
        assert {ada.send(ME).status for _ in range(5 * THREADS)} == {200}
        assert not sessions(primary.owner)
        # Responses from before the failover hold after it.
        assert ada.is_signed_up(before)
        assert ada.is_signed_up(after)
        assert server.complaints() == []
