"""ECS's two health checks: a task that hangs is replaced, and one that waits for a failover of its database is not."""

import pytest
from django.test import Client

from apps.core.middleware import probes
from tests.support.health_checks import container, target_group
from tests.support.password_postgres import connected

FAILOVER_S = 120
NO_DATABASE = "postgres://nobody@127.0.0.1:1/nothing"


@pytest.fixture(params=[target_group, container], ids=["target group", "container"])
def check(request):
    return request.param()


@pytest.fixture
def without_a_database(django_db_blocker, monkeypatch):
    # The process's own probe may hold a connection, or an answer, of an earlier test.
    monkeypatch.setattr(probes, "database", probes.DatabaseProbe())
    with django_db_blocker.unblock(), connected(NO_DATABASE):
        yield


def test_a_database_that_is_away_fails_no_check(check, without_a_database):
    client = Client()
    answered = client.get(check.path).status_code == 200

    assert client.get("/ping/").status_code == 503
    assert answered
    assert not check.replaces(lambda _: answered, 10 * FAILOVER_S)


def test_requests_that_wait_for_a_failover_may_occupy_every_thread(check):
    """So that no probe at all is answered meanwhile."""
    assert not check.replaces(lambda moment: moment > FAILOVER_S, 10 * FAILOVER_S)


def test_a_task_that_hangs_is_replaced_within_three_minutes(check):
    assert check.replaces(lambda _: False, 180)
    assert check.replaces(lambda moment: moment < 60, 240)


def test_aws_takes_the_numbers(check):
    """ECS: 5 to 300 s, 1 to 10 retries. ELB: 5 to 300 s, 2 to 10 failures."""
    assert 5 <= check.interval_s <= 300
    assert 2 <= check.failures <= 10
