"""ECS's two health checks: a task that hangs is replaced, and one that waits for a failover of its database is not."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from django.test import Client

from apps.core.middleware import probes
from tests.support.password_postgres import connected
from tests.support.paths import ROOT

FAILOVER_S = 120
NO_DATABASE = "postgres://nobody@127.0.0.1:1/nothing"


@dataclass(frozen=True)
class Check:
    """A health check as AWS makes it: the target is unhealthy after so many failures in a row."""

    path: str
    interval_s: int
    failures: int

    def replaces(self, answers: Callable[[float], bool], seconds: int) -> bool:
        """Ask every interval for some seconds; return whether the target has been found unhealthy."""
        failed = 0
        for moment in range(0, seconds, self.interval_s):
            failed = 0 if answers(moment) else failed + 1
            if failed == self.failures:
                return True
        return False


def target_group() -> Check:
    block = re.search(
        r"health_check \{(.*?)\n  \}", (ROOT / "deploy/ecs/terraform/environment/network.tf").read_text(), re.DOTALL
    )
    assert block is not None
    values = dict(re.findall(r"(\w+) += \"?([^\"\n]+?)\"?$", block[1], re.MULTILINE))
    return Check(values["path"], int(values["interval"]), int(values["unhealthy_threshold"]))


def container() -> Check:
    check = json.loads((ROOT / "deploy/ecs/web.json").read_text())["containerDefinitions"][0]["healthCheck"]
    path = re.search(r"'(/\w+/)'", check["command"][-1])
    assert path is not None
    return Check(path[1], check["interval"], check["retries"])


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
