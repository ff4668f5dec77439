"""Reads from a real streaming replica by Django's own connections: lag, slowness, conflicts, promotion, mistaken writes."""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import DEFAULT_DB_ALIAS, connections
from django.test import Client
from django.urls import path
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.circuit_breaker import CircuitBreaker
from apps.core.views import Endpoint
from apps.database import replica
from config.settings.base import database
from config.urls import handler400, handler403, handler404, handler500  # noqa: F401  Django reads them
from tests.support.password_postgres import PasswordPostgres
from tests.support.patience import HANG_S, eventually
from tests.support.problems import assert_problem
from tests.support.standby import Pair, reload

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

READ = "SELECT count(*) FROM seen"


class MistakeView(Endpoint):
    """A view that writes where it should read."""

    schema = None  # in no OpenAPI document
    permission_classes = (AllowAny,)

    def get(self, request: Request) -> Response:
        replica.read(lambda alias: run(alias, "INSERT INTO seen VALUES (42)"))
        return Response()


urlpatterns = [path("api/v1/mistake/", MistakeView.as_view())]


@pytest.fixture(scope="module")
def primary(tmp_path_factory) -> Iterator[PasswordPostgres]:
    with (
        PasswordPostgres(tmp_path_factory.mktemp("streaming")) as primary,
        primary.connect("web", "first", "web") as web,
    ):
        web.execute("CREATE TABLE seen (number integer)")
        yield primary


@pytest.fixture
def pair(primary) -> Iterator[Pair]:
    with Pair(primary) as pair:
        pair.wait_for_replay()
        yield pair


@pytest.fixture(autouse=True)
def _connected(pair, monkeypatch, settings) -> Iterator[None]:
    """Let Django's two connections be those to the pair, until a read by the replica is no matter of the machine's speed."""
    settings.REPLICA_MAX_LAG_S = HANG_S
    monkeypatch.setattr(replica, "LAG_CACHE_S", 0.0)
    breaker = CircuitBreaker(HANG_S, logger=replica.logger, broken="The replica does not answer", healed="It answers")
    monkeypatch.setattr(replica, "breaker", breaker)
    monkeypatch.setattr(replica, "monitor", replica.LagMonitor())
    usual = {alias: connections[alias].settings_dict.copy() for alias in (DEFAULT_DB_ALIAS, replica.ALIAS)}
    connect(DEFAULT_DB_ALIAS, pair.primary.url("first"))
    connect(replica.ALIAS, pair.standby_url)
    yield
    for alias, entry in usual.items():
        connections[alias].close()
        connections[alias].settings_dict.clear()
        connections[alias].settings_dict.update(entry)


def connect(alias: str, url: str) -> None:
    connections[alias].close()
    connections[alias].settings_dict.update(database(url, is_replica=alias == replica.ALIAS))


def run(alias: str, statement: str) -> str:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement)
    return alias


def answering(statement: str = READ) -> str:
    """Return the alias of the server that answers."""
    return replica.read(lambda alias: run(alias, statement))


def write() -> None:
    """Write, and have it flushed."""
    run(DEFAULT_DB_ALIAS, "INSERT INTO seen VALUES (1)")


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == replica.__name__]


def test_an_idle_primary_is_no_lag(pair):
    write()
    pair.wait_for_replay()
    # So old is the last transaction, with nothing written since.
    time.sleep(1)

    eventually(lambda: answering() == replica.ALIAS and replica.monitor.last.lag_s == 0)


def test_a_receiver_that_is_cut_off_is_lag_that_grows(pair, settings):
    write()
    pair.wait_for_replay()
    pair.standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
    reload(pair.standby)
    eventually(lambda: not pair.standby.execute("SELECT count(*) FROM pg_stat_wal_receiver").fetchone()[0])
    write()

    assert answering() == replica.ALIAS
    first = replica.monitor.last.lag_s
    assert first > 0
    answering()
    assert replica.monitor.last.lag_s > first
    settings.REPLICA_MAX_LAG_S = first
    assert answering() == DEFAULT_DB_ALIAS
    assert replica.state() == "behind"


def test_replay_that_is_paused_is_lag(pair, settings):
    write()
    pair.wait_for_replay()
    pair.standby.execute("SELECT pg_wal_replay_pause()")
    write()
    settings.REPLICA_MAX_LAG_S = 1e-9

    assert answering() == DEFAULT_DB_ALIAS
    pair.standby.execute("SELECT pg_wal_replay_resume()")
    settings.REPLICA_MAX_LAG_S = HANG_S
    assert answering() == replica.ALIAS


def test_a_replica_that_is_slow_is_left_alone(pair, caplog):
    """It holds a lock that the primary has released since, and that it has not replayed."""
    with pair.primary.connect("web", "first", "web") as owner, owner.transaction(force_rollback=True):
        owner.execute("LOCK TABLE seen IN ACCESS EXCLUSIVE MODE")
        # A commit of another session flushes the lock's record.
        pair.primary.owner.execute("SELECT pg_switch_wal()")
        locks = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation IS NOT NULL"
        eventually(lambda: pair.standby.execute(locks).fetchone()[0])
        pair.standby.execute("SELECT pg_wal_replay_pause()")

    assert answering() == DEFAULT_DB_ALIAS
    assert answering() == DEFAULT_DB_ALIAS
    (line,) = warnings(caplog)
    assert "statement timeout" in line
    assert replica.state() == "unavailable"
    pair.standby.execute("SELECT pg_wal_replay_resume()")


def test_a_read_that_is_ended_for_the_primary_s_cleanup_is_the_primary_s(pair, caplog):
    pair.standby.execute("ALTER SYSTEM SET max_standby_streaming_delay = 0")
    reload(pair.standby)
    write()
    pair.wait_for_replay()

    def long(alias: str) -> str:
        if alias == replica.ALIAS:
            run(alias, "SET statement_timeout = 0")
            with connections[alias].connection.response_timeout(HANG_S):
                return run(alias, "SELECT count(*), pg_sleep(600) FROM seen")
        return run(alias, READ)

    def clean_up() -> None:
        sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        eventually(lambda: pair.standby.execute(sleeping).fetchone()[0])
        with pair.primary.connect("web", "first", "web") as owner:
            owner.execute("DELETE FROM seen")
            owner.execute("VACUUM seen")

    with ThreadPoolExecutor(1) as pool:
        cleaned = pool.submit(clean_up)
        assert replica.read(long) == DEFAULT_DB_ALIAS
        cleaned.result()
    (line,) = warnings(caplog)
    assert "conflict with recovery" in line


def test_a_replica_that_is_gone_is_left_alone_and_is_back(pair, caplog, monkeypatch):
    assert answering() == replica.ALIAS
    pair.standby.close()
    pair.pg_ctl("stop", "--mode=immediate")

    assert [answering() for _ in range(3)] == [DEFAULT_DB_ALIAS] * 3
    assert len(warnings(caplog)) == 1
    caplog.set_level(logging.INFO, replica.__name__)
    pair.start_standby()
    monkeypatch.setattr(replica.breaker, "_try_again_at", 0.0)
    monkeypatch.setattr(replica.breaker, "_healed_from", 0.0)
    assert answering() == replica.ALIAS
    assert warnings(caplog)[1:] == ["It answers"]


def test_a_promoted_replica_is_none(pair):
    assert answering() == replica.ALIAS
    pair.promote()

    assert answering() == DEFAULT_DB_ALIAS
    assert replica.state() == "not_a_replica"


def test_reading_goes_on_while_the_primary_is_itself_a_replica(pair):
    """As before the end of a failover, when DATABASE_URL leads to a server that still follows."""
    connect(DEFAULT_DB_ALIAS, pair.standby_url)

    assert answering() == replica.ALIAS
    connect(replica.ALIAS, pair.primary.url("first"))
    assert answering() == DEFAULT_DB_ALIAS


def test_a_write_by_mistake_is_refused_by_the_server_and_logged(pair, settings, caplog):
    settings.ROOT_URLCONF = __name__

    answer = Client(raise_request_exception=False).get("/api/v1/mistake/", headers={"Accept": "application/json"})

    assert_problem(answer, 500, "internal_error")
    (record,) = [record for record in caplog.records if record.getMessage() == "Unhandled exception"]
    assert "read-only transaction" in str(record.exc_info[1])
    with pair.primary.connect("web", "first", "web") as web:
        assert web.execute("SELECT count(*) FROM seen WHERE number = 42").fetchone() == (0,)
    # It was a bug, and not the replica's failure.
    assert replica.state() == "ok"
