"""A real Prometheus scrapes gunicorn under traffic and runs every query of the dashboards and rules."""

import contextlib
import http.client
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client as Browser
from prometheus_client import REGISTRY

from devtools import example_traffic as traffic
from devtools import prometheus as monitoring
from tests.factories import UserFactory
from tests.monitoring.queries import metrics, of_annotations, of_panels, of_variables, rules
from tests.support.databases import database_url
from tests.support.monitoring_programs import program
from tests.support.patience import HANG_S
from tests.support.server import Server

# The rows of the traffic stay until the end of the first test, which flushes the database.
pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

TRAFFIC_SECONDS = 3
# Series that Prometheus itself writes, and only while an alert is pending or firing.
PROMETHEUS_OWN = {"ALERTS"}


@dataclass(frozen=True)
class Watched:
    """A Prometheus that has scraped traffic, and the number of responses of each status."""

    port: int
    answered: Counter[int]

    def ask(self, expr: str) -> list[dict[str, Any]]:
        return monitoring.api(self.port, "query", query=expr)["result"]

    def names(self) -> set[str]:
        return set(monitoring.api(self.port, "label/__name__/values"))


def eventually(condition: Callable[[], bool]) -> bool:
    """Return whether the condition becomes true within the time that Prometheus may take to scrape it."""
    deadline = time.monotonic() + HANG_S
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(0.3)
    return held


def trouble(server: Server) -> Counter[int]:
    """Send what the example traffic lacks: an unknown admin page, and what `tests/<app>/trouble.py` of each app sends."""
    names = sorted(path.parent.name for path in Path(__file__).parents[1].glob("*/trouble.py"))
    parts = [import_module(f"tests.{name}.trouble").trouble(server) for name in names]
    return sum(parts, Counter([unknown_admin_page(server)]))


def unknown_admin_page(server: Server) -> int:
    """Return the status of an admin page that does not exist."""
    browser = Browser()
    browser.force_login(UserFactory(is_staff=True, is_superuser=True))
    name = settings.SESSION_COOKIE_NAME
    with contextlib.closing(http.client.HTTPConnection(*server.address, timeout=HANG_S)) as link:
        link.request("GET", "/admin/nowhere/", headers={"Cookie": f"{name}={browser.cookies[name].value}"})
        return link.getresponse().status


@pytest.fixture(scope="module")
def watched(django_db_setup, django_db_blocker) -> Iterator[Watched]:
    program("prometheus")
    folder = Path(tempfile.mkdtemp(prefix="prometheus-"))
    with django_db_blocker.unblock():
        url = database_url()
        with (
            Server(url, folder / "gunicorn.log", workers=2, threads=4, LOCK_TIMEOUT="1") as server,
            monitoring.prometheus(folder, "{}:{}".format(*server.metrics_address), interval="1s") as port,
        ):
            # rate() needs a sample from before the counter moves.
            assert eventually(lambda: bool(monitoring.api(port, "query", query="up == 1")["result"]))
            answered = traffic.run(server.address, seconds=TRAFFIC_SECONDS, customers=3, seed=1) + trouble(server)
            yield Watched(port, answered)
        connection.close()
    shutil.rmtree(folder)


def test_counts_every_answer_and_no_other(watched):
    def counted() -> dict[int, int]:
        series = watched.ask("sum by (status) (django_http_responses_total_by_status_view_method_total)")
        return {int(one["metric"]["status"]): int(one["value"][1]) for one in series}

    eventually(lambda: counted() == watched.answered)
    assert counted() == watched.answered
    assert {200, 201, 400, 404, 429} <= set(watched.answered)


def test_every_panel_gets_an_answer_and_those_that_must_have_data_do(watched):
    empty = {name: exprs for name, (panel, exprs) in of_panels().items() if not panel.may_be_empty}

    def fill() -> bool:
        for name, exprs in list(empty.items()):
            if any(is_data(one) for expr in exprs for one in watched.ask(expr)):
                del empty[name]
        return not empty

    eventually(fill)
    assert empty == {}
    for _, exprs in of_panels().values():
        for expr in exprs:
            watched.ask(expr)


def is_data(series: dict[str, Any]) -> bool:
    return series["value"][1] not in {"NaN", "+Inf", "-Inf"}


def test_every_choice_and_annotation_gets_an_answer(watched):
    for label, series in of_variables():
        assert monitoring.api(watched.port, f"label/{label}/values", **{"match[]": series}), label
    for expr in of_annotations():
        watched.ask(expr)


def test_every_rule_is_evaluated_and_every_record_has_data(watched):
    recorded = [rule["record"] for rule in rules() if "record" in rule]

    assert eventually(lambda: set(recorded) <= watched.names()), set(recorded) - watched.names()
    for rule in rules():
        watched.ask(rule["expr"])
    for name in recorded:
        assert watched.ask(name), name
    loaded = [rule for group in monitoring.api(watched.port, "rules")["groups"] for rule in group["rules"]]
    assert len(loaded) == len(rules())
    assert {(rule["health"], rule.get("lastError")) for rule in loaded} == {("ok", None)}


def test_every_metric_that_is_asked_for_exists(watched):
    asked = {name for _, exprs in of_panels().values() for expr in exprs for name in metrics(expr)}
    asked |= {name for rule in rules() for name in metrics(rule["expr"])}
    asked |= {name for expr in of_annotations() for name in metrics(expr)}
    asked |= {name for _, series in of_variables() for name in metrics(series)}

    # A metric whose labels depend on the apps may have no series.
    known = PROMETHEUS_OWN | {f"{family.name}_total" for family in REGISTRY.collect() if family.type == "counter"}

    assert eventually(lambda: asked - known <= watched.names()), asked - known - watched.names()
