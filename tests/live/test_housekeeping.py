"""The record of `manage.py housekeeping`, as Prometheus sees it: the same from every worker, without a query per request."""

import contextlib
import os
import signal
import time

import pytest
from django.core.management import call_command
from django.db import connection

from apps.core import housekeeping
from apps.core.models import HousekeepingRun
from tests.support.client import Client, Request
from tests.support.databases import database_url
from tests.support.metrics_endpoint import read, scrape
from tests.support.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

SUCCESS = "app_housekeeping_last_success_timestamp_seconds"


def published(server: Server) -> dict[str, float]:
    return {
        dict(labels)["part"]: value
        for (name, labels), value in read(scrape(server.metrics_address)).items()
        if name == SUCCESS
    }


def recorded() -> dict[str, float]:
    parts = dict.fromkeys(HousekeepingRun.Part.values, 0.0)
    return parts | {run.part: run.succeeded_at.timestamp() for run in HousekeepingRun.objects.all()}


def eventually(server: Server, expected: dict[str, float]) -> None:
    deadline = time.monotonic() + 30
    while (found := published(server)) != expected:
        assert time.monotonic() < deadline, (found, expected)
        time.sleep(0.05)


def test_is_exact_under_many_workers_that_come_and_go(tmp_path):
    with Server(database_url(), tmp_path / "log", workers=3, threads=2) as server:
        assert published(server) == {"cleanup": 0, "verification": 0}

        call_command("housekeeping", "--verify")
        # New workers read at once; those that stay, within a minute.
        server.reload()
        eventually(server, recorded())
        for pid in server.workers():
            # A worker of before the reload may have ended by itself.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        eventually(server, recorded())
        server.wait_until_it_answers()

        first = recorded()
        call_command("housekeeping")
        os.kill(server.workers()[0], signal.SIGKILL)
        # One worker has read it, the others have not: the newest counts.
        eventually(server, recorded())
        assert recorded()["cleanup"] > first["cleanup"]
        assert recorded()["verification"] == first["verification"]


def test_is_not_read_by_requests(tmp_path, monkeypatch):
    """With the record's table locked, a request that would read it would wait."""
    with Server(database_url(), tmp_path / "log", workers=1, threads=2) as server:
        eventually(server, recorded())
        with connection.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE core_housekeepingrun IN ACCESS EXCLUSIVE MODE")
            try:
                with Client(server.address, token=None) as client:
                    statuses = {client.send(Request("GET", path)).status for path in ("/ping/", "/livez/", "/nowhere/")}
            finally:
                cursor.execute("ROLLBACK")

    assert statuses == {200, 404}
    assert housekeeping.PUBLISH_INTERVAL_S == 60
