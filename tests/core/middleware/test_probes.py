"""Health probes: results, time limit, hosts and methods, and the log lines of their changes."""

import logging
import socket
import threading

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from apps.core.middleware import probes
from tests.support.metric_deltas import counting
from tests.support.migrations import last_migration
from tests.support.patience import HANG_S

PROBES = ("/ping/", "/livez/", "/readyz/")


@pytest.fixture
def silent_server():
    """A server that accepts connections and sends nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.fixture
def fresh_probe(monkeypatch):
    """A probe of its own, whose thread may hang without harm to others."""
    probe = probes.DatabaseProbe()
    monkeypatch.setattr(probes, "database", probe)
    return probe


@pytest.fixture
def is_migrated(monkeypatch):
    """The question, not answered yet."""
    question = probes.IsMigrated()
    monkeypatch.setattr(probes, "is_migrated", question)
    return question


@pytest.fixture(autouse=True)
def reported(monkeypatch):
    """The states of what the server can do without: none, as where there is no replica."""
    states = {}
    monkeypatch.setattr(probes, "reported_states", states)
    return states


@pytest.mark.django_db
class TestProbes:
    def test_all_is_well(self, settings):
        settings.REVISION = "0123abcd"

        assert Client().get("/ping/").json() == {"pong": True, "db": "ok"}
        assert Client().get("/livez/").json() == {"status": "ok", "version": "0123abcd"}
        ready = Client().get("/readyz/")
        assert ready.json() == {"status": "ok", "checks": {"server": "ok", "database": "ok", "migrations": "ok"}}
        assert ready.headers["Cache-Control"] == "no-store"

    def test_what_the_server_can_do_without_is_reported_and_fails_nothing(self, reported):
        reported["replica"] = lambda: "unavailable"

        ready = Client().get("/readyz/")

        assert (ready.status_code, ready.json()["status"]) == (200, "ok")
        assert ready.json()["checks"]["replica"] == "unavailable"

    @pytest.mark.parametrize("path", PROBES)
    def test_by_bare_address_plain_http_and_head(self, path, settings):
        settings.SECURE_SSL_REDIRECT = True
        assert Client().get(path, headers={"Host": "10.1.2.3"}).status_code == 200
        assert Client().head(path, headers={"Host": "10.1.2.3"}).status_code == 200
        refused = Client().post(path)
        assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD")

    def test_a_server_that_drains_is_not_ready_and_lives(self, monkeypatch):
        monkeypatch.setattr(probes.draining, "is_on", lambda: True)

        response = Client().get("/readyz/")

        assert response.status_code == 503
        assert response.json()["checks"] == {"server": "draining", "database": "ok", "migrations": "ok"}
        assert {Client().get(path).status_code for path in ("/ping/", "/livez/")} == {200}

    def test_a_database_that_refuses_is_told_at_once(self, fresh_probe, monkeypatch):
        def refuse():
            raise ConnectionRefusedError

        monkeypatch.setattr(probes, "is_reachable", refuse)

        response = Client().get("/ping/")

        assert (response.status_code, response.json()) == (503, {"pong": True, "db": "unavailable"})
        assert response.headers["Retry-After"] == "5"
        assert Client().get("/readyz/").json()["checks"] == {
            "server": "ok",
            "database": "unavailable",
            "migrations": "unknown",
        }
        assert Client().get("/livez/").status_code == 200

    def test_a_database_that_is_silent_is_told_to_all_who_ask_while_it_is_silent(self, fresh_probe, monkeypatch):
        asked, answered, let_go = [], [], threading.Event()

        def hang():
            asked.append(True)
            answered.append(let_go.wait(10 * HANG_S))
            return True

        monkeypatch.setattr(probes, "is_reachable", hang)

        threads = [threading.Thread(target=lambda: Client().get("/ping/")) for _ in range(20)]
        for thread in threads:
            thread.start()
        status = Client().get("/ping/").status_code
        for thread in threads:
            thread.join()

        assert status == 503
        assert (len(asked), answered) == (1, [])
        let_go.set()


@pytest.mark.django_db
class TestLines:
    """Only a change of a probe's result is logged."""

    @pytest.fixture
    def check(self, fresh_probe, monkeypatch, caplog):
        """Return a function that probes one worker in a given state, and returns its log lines."""
        there, drains = {}, {}
        monkeypatch.setattr(probes, "is_reachable", lambda: there["is"])
        monkeypatch.setattr(probes, "is_migrated", lambda: True)
        monkeypatch.setattr(probes.draining, "is_on", lambda: drains["is"])
        caplog.set_level(logging.INFO, logger="apps.core.middleware.probes")
        worker = Client()

        def check(path, *, database=True, draining=False, times=3):
            there["is"], drains["is"] = database, draining
            caplog.clear()
            for _ in range(times):
                worker.get(path)
            return [
                (line.levelname, line.getMessage(), line.probe, getattr(line, "failing", None))
                for line in caplog.records
                if line.name == "apps.core.middleware.probes"
            ]

        return check

    def test_there_are_none_while_all_is_well(self, check):
        assert [check(path) for path in PROBES] == [[], [], []]

    def test_there_is_one_for_each_change(self, check):
        assert check("/ping/", database=False) == [("WARNING", "Probe failed", "ping", {"database": "unavailable"})]
        assert check("/ping/", database=False) == []
        assert check("/ping/") == [("INFO", "Probe recovered", "ping", None)]
        assert check("/ping/") == []
        assert len(check("/ping/", database=False)) == 1

    def test_each_probe_is_told_apart_and_another_reason_is_a_change(self, check):
        away = {"database": "unavailable", "migrations": "unknown"}
        assert check("/readyz/", database=False) == [("WARNING", "Probe failed", "readyz", away)]
        assert check("/livez/", database=False) == []
        assert check("/readyz/", draining=True) == [("WARNING", "Probe failed", "readyz", {"server": "draining"})]
        assert check("/ping/") == []


@pytest.mark.django_db(transaction=True)
class TestMigrations:
    """The probe has its own connection, so changes must be committed."""

    @pytest.fixture
    def pending(self):
        """Let the database lack a migration, until it is called."""
        recorder, last = MigrationRecorder(connection), last_migration("users")
        recorder.record_unapplied(*last)
        yield lambda: recorder.record_applied(*last)
        if last not in recorder.applied_migrations():
            recorder.record_applied(*last)

    def test_one_that_is_pending_is_not_ready_until_it_is_applied(self, is_migrated, pending):
        response = Client().get("/readyz/")

        assert response.status_code == 503
        assert response.json()["checks"] == {"server": "ok", "database": "ok", "migrations": "pending"}
        assert Client().get("/ping/").status_code == 200
        pending()
        assert Client().get("/readyz/").status_code == 200

    def test_are_read_again_only_after_a_while(self, is_migrated, monkeypatch):
        loaded, real = [], probes.MigrationExecutor
        monkeypatch.setattr(probes, "MigrationExecutor", lambda *args: loaded.append(args) or real(*args))

        assert {Client().get("/readyz/").status_code for _ in range(5)} == {200}
        assert len(loaded) == 1
        is_migrated._cached_until -= probes.MIGRATIONS_CACHE_S
        assert Client().get("/readyz/").status_code == 200
        assert len(loaded) == 2


def test_connecting_to_a_silent_server_gives_up(silent_server):
    """Libpq's connect_timeout bounds what a paused server does to a request."""
    settings = connection.settings_dict
    assert settings["OPTIONS"]["connect_timeout"] == 2
    other = connection.copy()
    other.settings_dict = settings | {"HOST": "127.0.0.1", "PORT": str(silent_server)}
    failures = counting("app_db_connect_failures")

    with pytest.raises(Exception, match="timeout"):
        other.connect()

    assert failures() == {"timeout": 1}
