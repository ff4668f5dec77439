"""Statements from a real streaming replica: behind, cut off, killed under load, promoted; figures: docs/ledger/proofs.md.

Each test stands for what happened to others: reads that followed a write went to the replica, revoked tokens kept working,
a replica that was gone took the site with it, a promoted one went on answering.
"""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ledger.requests import money_request
from tests.support.client import Answer, Client, Request
from tests.support.metrics_endpoint import read, scrape
from tests.support.password_postgres import PasswordPostgres
from tests.support.paths import ROOT
from tests.support.patience import eventually
from tests.support.server import Server
from tests.support.standby import Pair, reload

pytestmark = pytest.mark.slow

ALWAYS = "86400"
SIGN_UP = Request("POST", "/api/v1/users/", {"username": "ada", "password": "correct horse battery staple"})
LOG_IN = Request("POST", "/api/token/", SIGN_UP.body)
LOG_OUT = Request("DELETE", "/api/token/")
READYZ = Request("GET", "/readyz/")


@pytest.fixture(scope="module")
def primary(tmp_path_factory) -> Iterator[PasswordPostgres]:
    with PasswordPostgres(tmp_path_factory.mktemp("replica")) as primary:
        manage(primary, "migrate", "--verbosity=0")
        yield primary


@pytest.fixture
def pair(primary) -> Iterator[Pair]:
    with Pair(primary) as pair:
        yield pair


def environment(primary: PasswordPostgres) -> dict[str, str]:
    return {"DJANGO_SETTINGS_MODULE": "config.settings.local", "DATABASE_URL": primary.url("first")}


def manage(primary: PasswordPostgres, *command: str) -> None:
    subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env=os.environ | environment(primary),  # noqa: TID251  the child's is ours with some changed
        check=True,
    )


class Customer:
    """A customer with one account."""

    def __init__(self, server: Server) -> None:
        self.server, self.token = server, None
        assert self.send(SIGN_UP).status in {201, 400}
        self.token = self.send(LOG_IN).body["token"]
        self.account = self.send(Request("POST", "/api/v1/accounts/", {})).body["id"]
        self.version = 0

    def send(self, request: Request) -> Answer:
        with Client(self.server.address, token=self.token) as client:
            return client.send(request)

    def deposit(self) -> None:
        answer = self.send(money_request(self.account, "deposits", {"amount": "1.00"}))
        assert answer.status == 201
        self.version = answer.body["entry"]["sequence"]

    def statement(self, min_version: int | None = None) -> list[int]:
        """Return the sequences of the statement."""
        answer = self.send(Request("GET", f"/api/v1/accounts/{self.account}/transactions/", min_version=min_version))
        assert answer.status == 200, answer.text
        return [line["sequence"] for line in answer.body["results"]]

    def newest(self, min_version: int | None = None) -> int:
        return max(self.statement(min_version), default=0)


@contextmanager
def serving(pair: Pair, log: Path, *, max_lag: str, workers: int = 1) -> Iterator[Server]:
    given = environment(pair.primary) | {"REPLICA_DATABASE_URL": pair.standby_url, "REPLICA_MAX_LAG": max_lag}
    with Server(pair.primary.url("first"), log, workers=workers, threads=4, **given) as server:
        yield server


def reads(server: Server) -> Counter[tuple[str, str]]:
    """Return how many reads each server answered, by the reason."""
    found: Counter[tuple[str, str]] = Counter()
    for (name, labels), value in read(scrape(server.metrics_address)).items():
        if name == "app_replica_reads_total" and value:
            found[dict(labels)["alias"], dict(labels)["reason"]] = int(value)
    return found


def lag(server: Server) -> float:
    """Return the lag that the replica's last answer had."""
    found = read(scrape(server.metrics_address))
    return next(value for (name, _), value in found.items() if name == "app_replica_lag_seconds")


def test_one_s_own_write_is_read_while_the_replica_is_behind(pair, tmp_path):
    with serving(pair, tmp_path / "log", max_lag=ALWAYS) as server:
        ada = Customer(server)
        ada.deposit()
        pair.wait_for_replay()
        assert ada.statement() == [1]
        pair.standby.execute("SELECT pg_wal_replay_pause()")
        ada.deposit()

        assert ada.newest() == 1
        assert ada.newest(min_version=1) == 1
        assert ada.newest(min_version=2) == 2
        pair.standby.execute("SELECT pg_wal_replay_resume()")
        pair.wait_for_replay()
        assert ada.newest(min_version=2) == 2

        assert reads(server) == {
            ("replica", "fresh"): 2,
            ("replica", "version"): 2,
            ("default", "version"): 1,
        }
        assert server.complaints() == []


def test_a_revoked_token_is_dead_at_once(pair, tmp_path):
    with serving(pair, tmp_path / "log", max_lag=ALWAYS) as server:
        ada = Customer(server)
        ada.deposit()
        pair.wait_for_replay()
        pair.standby.execute("SELECT pg_wal_replay_pause()")
        assert ada.send(LOG_OUT).status == 204

        statement = ada.send(Request("GET", f"/api/v1/accounts/{ada.account}/transactions/"))
        assert (statement.status, statement.code) == (401, "not_authenticated")


def test_an_idle_primary_is_no_lag(pair, tmp_path):
    with serving(pair, tmp_path / "log", max_lag=ALWAYS) as server:
        ada = Customer(server)
        ada.deposit()
        pair.wait_for_replay()
        # So old is the last transaction, with nothing written since.
        time.sleep(1)

        eventually(lambda: ada.statement() == [1] and lag(server) == 0)
        assert reads(server)["replica", "fresh"] >= 1


def test_a_receiver_that_is_cut_off_is_lag(pair, tmp_path):
    with serving(pair, tmp_path / "log", max_lag="0.5") as server:
        ada = Customer(server)
        ada.deposit()
        pair.wait_for_replay()
        pair.standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
        reload(pair.standby)
        eventually(lambda: not pair.standby.execute("SELECT count(*) FROM pg_stat_wal_receiver").fetchone()[0])
        ada.deposit()

        eventually(lambda: ada.newest() == 2)
        eventually(lambda: ada.newest() and reads(server)["default", "lag"] and lag(server) > 0.5)
        assert ada.send(READYZ).body["checks"]["replica"] == "behind"
        assert ada.send(READYZ).status == 200


def test_a_replica_that_is_killed_under_load_fails_no_request(pair, primary, tmp_path):
    with serving(pair, tmp_path / "log", max_lag=ALWAYS, workers=2) as server:
        customers = [Customer(server) for _ in range(4)]
        killed_at = 30

        def work(index: int) -> list[int]:
            ada, seen = customers[index], []
            for turn in range(100):
                if index == 0 and turn == killed_at:
                    pair.pg_ctl("stop", "--mode=immediate")
                ada.deposit()
                newest = ada.newest(min_version=ada.version)
                assert newest == ada.version
                seen.append(newest)
            return seen

        with ThreadPoolExecutor(len(customers)) as pool:
            assert list(pool.map(work, range(len(customers)))) == [[*range(1, 101)]] * len(customers)

        answered = reads(server)
        print(answered)
        assert answered["default", "failed"] >= 1
        assert answered["default", "paused"] >= 1
        assert customers[0].send(READYZ).status == 200
        assert "unavailable" in {customers[0].send(READYZ).body["checks"]["replica"] for _ in range(20)}
        lines = [line for line in server.log.read_text().splitlines() if "The replica does not answer" in line]
        assert 1 <= len(lines) <= 2  # one a worker
        pair.start_standby()
    manage(primary, "verify_ledger")


def test_a_promoted_replica_is_none(pair, tmp_path):
    with serving(pair, tmp_path / "log", max_lag=ALWAYS) as server:
        ada = Customer(server)
        ada.deposit()
        pair.wait_for_replay()
        assert ada.statement() == [1]

        pair.promote()
        ada.deposit()
        eventually(lambda: ada.newest() == 2)
        assert {ada.newest() for _ in range(5)} == {2}
        assert reads(server)["default", "not_a_replica"] >= 1
        assert ada.send(READYZ).body["checks"]["replica"] == "not_a_replica"
