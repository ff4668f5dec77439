"""A database that only reads, as an old primary does after a failover: no connection to it is kept, and reading goes on."""

import time

import psycopg
import pytest
from django.db import OperationalError, connection, transaction
from django.test import Client

from apps.core.middleware import probes
from apps.database.postgresql import base
from apps.database.postgresql.timeout_connection import SERVER_CANNOT_SERVE
from tests.support.endpoints import ENDPOINTS, READS, ApiWorld, rows
from tests.support.patience import eventually


@pytest.fixture
def probe(monkeypatch):
    """A probe of its own, with a connection to the two-role database."""
    probe = probes.DatabaseProbe()
    monkeypatch.setattr(probes, "database", probe)
    yield probe
    probe.close()


@pytest.fixture
def world(as_app_role, settings) -> ApiWorld:
    settings.SIGN_UP_OPEN = True
    return ApiWorld()


@pytest.fixture
def reads_only(two_role_database):
    """Switch the whole server between read-only and read-write while sessions are connected."""

    def switch(state: str) -> None:
        two_role_database.password_postgres.owner.execute(f"ALTER SYSTEM SET default_transaction_read_only = {state}")
        two_role_database.password_postgres.owner.execute("SELECT pg_reload_conf()")
        # The server's processes reload one by one.
        eventually(lambda: connection.connection is None or connection.connection.closed or ask() == state)

    yield switch
    two_role_database.password_postgres.owner.execute("ALTER SYSTEM RESET default_transaction_read_only")
    two_role_database.password_postgres.owner.execute("SELECT pg_reload_conf()")


def ask(question: str = "SHOW default_transaction_read_only"):
    with connection.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchone()[0]


def test_writing_is_unavailable_reading_goes_on_and_both_are_back_without_a_restart(world, reads_only, probe):
    before = rows()
    reads_only("on")
    browser = Client(raise_request_exception=False)

    for endpoint in ENDPOINTS:
        next_request()
        kept = connection.connection
        response = world.call(endpoint)
        assert (response.status_code, response.json()["code"]) == (503, "unavailable"), endpoint
        assert response.headers["Retry-After"] == "5"
        assert kept.closed, endpoint
    next_request()
    assert world.send("DELETE", "/api/token/").status_code == 503
    next_request()
    assert browser.post("/admin/login/", {"username": "ada", "password": "wrong"}).status_code == 503
    next_request()
    for path in (*READS, "/api/v1/users/me/"):
        assert world.send("GET", path).status_code == 200
    for _ in range(2):
        ready = browser.get("/readyz/")
        assert (ready.status_code, ready.headers["Retry-After"]) == (503, "5")
        checks = {"server": "ok", "database": "read_only", "migrations": "ok"}
        assert ready.json()["checks"].items() >= checks.items()
    assert browser.get("/ping/").json() == {"pong": True, "db": "ok"}
    assert rows() == before

    reads_only("off")
    assert browser.get("/readyz/").status_code == 200
    assert world.call("log-in").status_code == 200


def test_a_connection_that_the_probe_finds_to_read_only_is_not_kept(as_app_role, reads_only, probe):
    def backend() -> int:
        return probe._thread.submit(ask, "SELECT pg_backend_pid()").result()

    assert probe.passes(probes.is_reachable)
    kept = backend()
    assert probe.passes(probes.is_reachable)
    assert backend() == kept

    reads_only("on")
    # The server's processes reload one by one.
    eventually(lambda: probe.passes(probes.is_reachable) and probe.only_reads)
    assert backend() != kept


def next_request() -> None:
    """Do what Django does before a request, and the tests' client does not."""
    connection.close_if_unusable_or_obsolete()
    connection.health_check_done, connection.health_check_enabled = False, True
    ask()


def test_reading_goes_on_and_no_connection_that_only_reads_is_kept_for_long(as_app_role, reads_only, monkeypatch):
    next_request()
    kept = connection.connection
    next_request()
    assert connection.connection is kept

    reads_only("on")
    next_request()
    assert connection.connection is kept
    monkeypatch.setattr(kept, "opened_at", kept.opened_at - base.READ_ONLY_CONNECTION_MAX_AGE_S)
    next_request()
    assert connection.connection is not kept
    assert connection.connection.only_reads

    fresh = connection.connection
    reads_only("off")
    monkeypatch.setattr(fresh, "opened_at", fresh.opened_at - base.READ_ONLY_CONNECTION_MAX_AGE_S)
    next_request()
    assert connection.connection is fresh


# What brings each about, in a transaction.
REFUSALS = {
    "25006": "SET TRANSACTION READ ONLY; CREATE TABLE refused ()",
    "25P03": "SET LOCAL idle_in_transaction_session_timeout = 1",
    "25P04": "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL transaction_timeout = 1",
    # What a server says in want of something, or in recovery, said for it.
    **{code: f"DO $$ BEGIN RAISE SQLSTATE '{code}'; END $$" for code in ("53100", "53200", "55000", "58030")},
}
ENDS_THE_SESSION = {"25P03", "25P04"}


def bring_about(statement: str) -> None:
    """Run a statement in a transaction, and then, a moment later, another: a session's own end shows there."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
        time.sleep(0.1)
        cursor.execute("SELECT 1")


@pytest.mark.django_db(transaction=True)
class TestCodes:
    @pytest.mark.parametrize("code", REFUSALS)
    def test_that_mean_the_server_are_unavailability_and_end_the_connection(self, code):
        ask("SELECT 1")
        kept = connection.connection

        with pytest.raises(OperationalError) as refusal:
            bring_about(REFUSALS[code])

        # libpq may see that the server has ended the session before it reads why.
        assert refusal.value.__cause__.sqlstate in ({code, None} if code in ENDS_THE_SESSION else {code})
        assert kept.closed
        assert ask("SELECT 1") == 1

    @pytest.mark.parametrize("code", ["0A000", "25001", "XX000", "XX001"])
    def test_that_mean_a_statement_or_broken_data_are_not(self, code):
        ask("SELECT 1")
        kept = connection.connection

        with pytest.raises(Exception, match=code) as refusal:
            ask(f"DO $$ BEGIN RAISE SQLSTATE '{code}' USING MESSAGE = '{code}'; END $$")

        assert not isinstance(refusal.value, OperationalError)
        assert not kept.closed

    @pytest.mark.parametrize("code", ["40001", "40P01", "55P03", "57014"])
    def test_that_mean_others_or_time_leave_the_connection_alone(self, code):
        ask("SELECT 1")
        kept = connection.connection

        with pytest.raises(OperationalError):
            ask(f"DO $$ BEGIN RAISE SQLSTATE '{code}'; END $$")

        assert not kept.closed

    def test_that_we_know_better_are_the_ones_that_psycopg_calls_otherwise(self):
        """The day psycopg agrees, ServerUnavailableError can go."""
        known = {code: psycopg.errors.lookup(code) for code in SERVER_CANNOT_SERVE}

        assert {code for code, error in known.items() if issubclass(error, psycopg.InternalError)} == {
            "25006",
            "25P03",
            "25P04",
        }
