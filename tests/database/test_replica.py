"""Reads from the replica, the router, and what a connection to one refuses; test_streaming_replica.py has a real one."""

import time
from collections.abc import Callable
from http import HTTPStatus

import pytest
from django.conf import settings
from django.db import InternalError, OperationalError, connections, router, transaction
from django.test import RequestFactory

from apps.core.circuit_breaker import CircuitBreaker
from apps.core.problem import from_exception
from apps.database import replica
from apps.database.metrics import REPLICA_READS
from apps.users.models import User
from tests.factories import UserFactory

# Longer than a test, however slow the machine is.
MAX_LAG_S = 3600.0
COMMITTING = pytest.mark.django_db(transaction=True)


def names(alias: str) -> list[str]:
    return [alias, *User.objects.using(alias).values_list("username", flat=True)]


def querying(on_the_replica: str) -> Callable[[str], str]:
    """Return a query that sends this to the replica, and another to the primary; it returns the alias that answered."""

    def query(alias: str) -> str:
        with connections[alias].cursor() as cursor:
            cursor.execute(on_the_replica if alias == "replica" else "SELECT 1")
        return alias

    return query


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    """Start each test with a closed circuit and no position."""
    breaker = CircuitBreaker(60, logger=replica.logger, broken="The replica does not answer", healed="It answers")
    monkeypatch.setattr(replica, "breaker", breaker)
    monkeypatch.setattr(replica, "monitor", replica.LagMonitor())
    yield
    connections["replica"].close()


@pytest.fixture
def position(monkeypatch, settings):
    """Let the second connection pass for a replica that is this far behind; return the list of when it was asked."""
    settings.REPLICA_MAX_LAG_S = MAX_LAG_S
    asked = []

    def be(lag_s: float | None) -> list[float]:
        def answer() -> replica.Position:
            asked.append(time.monotonic())
            return replica.Position(is_replica=True, lag_s=lag_s, asked_at=asked[-1])

        monkeypatch.setattr(replica.monitor, "_ask", answer)
        return asked

    return be


@pytest.fixture
def counted():
    """Return how many reads were answered by this server for this reason since the test began."""
    before = {}

    def value(alias: str, reason: str) -> float:
        return REPLICA_READS.labels(alias, reason)._value.get()

    for alias, reason in REPLICA_READS._metrics:
        before[alias, reason] = value(alias, reason)
    return lambda alias, reason: value(alias, reason) - before[alias, reason]


@COMMITTING
class TestRead:
    def test_without_a_replica_it_is_the_primary_s_and_no_connection_is_opened(self, monkeypatch):
        ada = UserFactory()
        monkeypatch.setattr(settings, "DATABASES", {"default": settings.DATABASES["default"]})

        assert replica.read(names) == ["default", ada.username]
        assert connections["replica"].connection is None

    @pytest.mark.parametrize("lag_s", [0.0, MAX_LAG_S / 2])
    def test_a_replica_that_is_near_enough_answers(self, position, counted, lag_s):
        ada = UserFactory()
        position(lag_s)

        assert replica.read(names) == ["replica", ada.username]
        assert counted("replica", "fresh") == 1

    @pytest.mark.parametrize("lag_s", [None, MAX_LAG_S + 0.001])
    def test_one_that_is_behind_or_unknown_does_not(self, position, counted, lag_s):
        position(lag_s)

        assert replica.read(names) == ["default"]
        assert counted("default", "lag") == 1
        assert replica.state() == "behind"

    @pytest.mark.parametrize(("cache_s", "times"), [(MAX_LAG_S, 1), (0.0, 3)])
    def test_it_is_asked_at_most_twice_a_second(self, position, monkeypatch, cache_s, times):
        assert replica.LAG_CACHE_S == 0.5
        monkeypatch.setattr(replica, "LAG_CACHE_S", cache_s)
        asked = position(0.0)

        for _ in range(3):
            replica.read(names)

        assert len(asked) == times

    def test_while_another_thread_asks_the_last_answer_counts_and_its_age_is_lag(self, position, counted):
        position(0.0)
        now = time.monotonic()
        with replica.monitor._asking:
            replica.monitor.last = replica.Position(is_replica=True, lag_s=0.0, asked_at=now - MAX_LAG_S / 2)
            assert replica.read(names) == ["replica"]

            replica.monitor.last = replica.Position(is_replica=True, lag_s=0.0, asked_at=now - MAX_LAG_S)
            assert replica.read(names) == ["default"]
        assert counted("default", "lag") == 1

    def test_a_server_that_replays_nothing_is_none(self, counted):
        assert replica.read(names) == ["default"]
        assert counted("default", "not_a_replica") == 1
        assert replica.state() == "not_a_replica"

    @pytest.mark.parametrize(("reached", "alias"), [(True, "replica"), (False, "default")])
    def test_what_the_caller_has_seen_decides_however_far_it_is_behind(self, position, counted, reached, alias):
        position(MAX_LAG_S * 2)

        assert replica.read(names, reaches=lambda _alias: reached) == [alias]
        assert counted(alias, "version") == 1

    def test_inside_a_transaction_the_primary_answers(self, position, counted):
        position(0.0)
        with transaction.atomic():
            ada = UserFactory()

            assert replica.read(names) == ["default", ada.username]
        assert counted("default", "transaction") == 1

    def test_one_that_is_slow_is_left_alone(self, position, counted, caplog):
        position(0.0)

        assert replica.read(querying("SET statement_timeout = 1; SELECT pg_sleep(600)")) == "default"
        assert replica.read(names) == ["default"]
        assert (counted("default", "failed"), counted("default", "paused")) == (1, 1)
        assert replica.state() == "unavailable"
        assert [record.levelname for record in caplog.records if "replica" in record.message] == ["WARNING"]

    def test_one_that_lacks_a_table_is_left_alone(self, position, counted):
        position(0.0)

        assert replica.read(querying("SELECT * FROM not_yet")) == "default"
        assert counted("default", "failed") == 1

    def test_an_error_of_the_primary_is_no_fault_of_the_replica(self, position):
        position(0.0)

        def broken(alias: str) -> None:
            with connections["default"].cursor() as cursor:
                cursor.execute("SET statement_timeout = 1; SELECT pg_sleep(600)")

        try:
            with pytest.raises(OperationalError):
                replica.read(broken)
        finally:
            connections["default"].close()
        assert replica.state() == "ok"

    def test_a_write_by_mistake_is_refused_by_the_server_and_is_an_error_of_ours(self, position):
        position(0.0)

        with pytest.raises(InternalError, match="read-only") as refused:
            replica.read(lambda alias: User(username="eve").save(using=alias))

        problem = from_exception(RequestFactory().get("/"), refused.value)
        assert problem.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
        assert not User.objects.exists()


@COMMITTING
class TestRouter:
    def test_what_hangs_on_a_row_of_the_replica_is_the_primary_s(self):
        ada = UserFactory()
        read_there = User.objects.using("replica").get(pk=ada.pk)

        read_there.username = "lovelace"
        read_there.save()

        assert User.objects.get(pk=ada.pk).username == "lovelace"
        assert read_there.groups.all().db == "default"

    def test_rows_of_both_servers_may_be_related(self):
        ada = UserFactory()
        read_there = User.objects.using("replica").get(pk=ada.pk)

        assert router.allow_relation(ada, read_there)

    def test_nothing_is_migrated_on_the_replica(self):
        assert not router.allow_migrate("replica", "users")
        assert router.allow_migrate("default", "users")


class TestState:
    def test_is_not_known_before_the_first_read(self):
        assert replica.state() == "unknown"
