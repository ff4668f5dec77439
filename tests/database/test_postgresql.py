"""Time limits of the database backend, and work without them."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from apps.database import postgresql
from apps.database.postgresql import base
from apps.database.timeouts import RESPONSE_TIMEOUT_S
from apps.users.models import User
from tests.factories import UserFactory
from tests.support.databases import database_url
from tests.support.metric_deltas import counting
from tests.support.paths import ROOT
from tests.support.patience import eventually

uses_database = pytest.mark.django_db(transaction=True)


@contextmanager
def response_timeout(seconds: float) -> Iterator[None]:
    """Let the connection that there is wait no longer for an answer, during the block; and close it then."""
    connection.ensure_connection()
    connection.connection.response_timeout_s = seconds
    try:
        yield
    finally:
        connection.close()


def query(statement: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


@uses_database
def test_an_answer_that_does_not_come_breaks_the_connection_and_the_next_question_gets_a_new_one():
    (first,) = query("SELECT pg_backend_pid()")
    connection.connection.response_timeout_s = 0.3

    with pytest.raises(OperationalError, match=r"did not answer within 0\.3 s"):
        query("SELECT pg_sleep(4)")

    connection.close_if_unusable_or_obsolete()
    (second,) = query("SELECT pg_backend_pid()")
    assert first != second


@uses_database
def test_work_that_takes_as_long_as_it_takes_may_say_so():
    with response_timeout(0.3), postgresql.transaction_without_timeouts():
        query("SELECT pg_sleep(0.6)")
        assert query("SHOW statement_timeout") == [("0",)]

    with response_timeout(0.3):
        with postgresql.transaction_without_timeouts():
            pass
        with pytest.raises(OperationalError, match="did not answer"):
            query("SELECT pg_sleep(4)")
    assert query("SHOW statement_timeout") == [("5s",)]


@uses_database
def test_such_work_has_its_client_looked_after_until_it_ends():
    with postgresql.transaction_without_timeouts():
        assert query("SHOW client_connection_check_interval") == [("1s",)]

    assert query("SHOW client_connection_check_interval") == [("0",)]


@uses_database
def test_a_server_that_cannot_look_after_its_clients_goes_without(monkeypatch):
    """Windows refuses every interval but 0 as this server refuses -1: with SQLSTATE 22023."""
    monkeypatch.setattr(postgresql, "CLIENT_CHECK_INTERVAL_MS", -1)

    with postgresql.transaction_without_timeouts():
        assert query("SHOW client_connection_check_interval") == [("0",)]
        assert query("SHOW statement_timeout") == [("0",)]


FOR_EVER = """
from django.db import connection
from apps.database.postgresql import transaction_without_timeouts
with transaction_without_timeouts(), connection.cursor() as cursor:
    cursor.execute("SELECT pg_sleep(600)")
"""
SLEEPERS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"


@pytest.mark.slow
@uses_database
def test_such_work_ends_with_a_client_that_is_killed():
    environment = {"DJANGO_SETTINGS_MODULE": "config.settings.test", "TEST_DATABASE_URL": database_url()}

    process = subprocess.Popen([sys.executable, "manage.py", "shell", "-c", FOR_EVER], cwd=ROOT, env=environment)
    try:
        eventually(lambda: query(SLEEPERS) == [(1,)])
        process.send_signal(signal.SIGKILL)
        process.wait()
        eventually(lambda: query(SLEEPERS) == [(0,)])
    finally:
        process.kill()
        process.wait()


@uses_database
def test_a_silent_connection_is_refused_at_the_health_check_and_not_replaced_by_a_wait(monkeypatch):
    query("SELECT 1")
    connection.health_check_done, connection.health_check_enabled = False, True
    monkeypatch.setattr(base, "HEALTH_CHECK_TIMEOUT_S", 0.2)
    execute = psycopg.Cursor.execute
    monkeypatch.setattr(psycopg.Cursor, "execute", lambda self, *_: execute(self, "SELECT pg_sleep(4)"))

    with pytest.raises(OperationalError, match="health check"):
        query("SELECT 1")

    assert connection.connection is None


def session_limits(of: BaseDatabaseWrapper) -> dict[str, object]:
    """Return what bounds a statement of the session, on either side."""
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    asked = of.connection
    bounds = {name: asked.execute(f"SHOW {name}").fetchone()[0] for name in names}
    return bounds | {"answer": asked.response_timeout_s}


def limit_values(lock: str, statement: str, idle: str, answer: float | None) -> dict[str, object]:
    return {
        "lock_timeout": lock,
        "statement_timeout": statement,
        "idle_in_transaction_session_timeout": idle,
        "answer": answer,
    }


UNLIMITED, USUAL = limit_values("1min", "0", "0", None), limit_values("2s", "5s", "10s", RESPONSE_TIMEOUT_S)


@uses_database
class TestWorkOnAWholeDatabase:
    """No limit of a request's holds for it: on a busy machine a suite whose tests all passed would end in an error."""

    def test_creating_and_dropping_takes_as_long_as_it_takes(self):
        with connection._nodb_cursor() as cursor:
            assert session_limits(cursor.db) == UNLIMITED

    def test_where_there_is_no_database_postgres_it_goes_by_another(self, monkeypatch):
        refuse = base.DatabaseWrapper.get_new_connection

        def without_postgres(self, conn_params):
            if conn_params["dbname"] == "postgres":
                raise psycopg.OperationalError("there is none")
            return refuse(self, conn_params)

        monkeypatch.setattr(base.DatabaseWrapper, "get_new_connection", without_postgres)

        with pytest.warns(RuntimeWarning, match="'postgres' database"), connection._nodb_cursor() as cursor:
            assert session_limits(cursor.db) == UNLIMITED

    def test_dropping_does_not_wait_for_whoever_is_still_connected(self):
        usual, name = connection.settings_dict["TEST"]["NAME"], f"lingering_{connection.settings_dict['NAME']}"
        connection.settings_dict["TEST"]["NAME"] = name
        try:
            assert connection.creation._create_test_db(verbosity=0, autoclobber=True) == name
        finally:
            connection.settings_dict["TEST"]["NAME"] = usual
        with closing(connection.copy()) as lingering:
            lingering.settings_dict["NAME"] = name
            lingering.ensure_connection()
            connection.creation._destroy_test_db(name, verbosity=0)

        with connection._nodb_cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_database WHERE datname = %s", [name])
            assert cursor.fetchone() == (0,)

    def test_flushing_takes_as_long_as_it_takes_and_then_the_usual_limits_hold(self):
        UserFactory()
        seen = []

        def look(execute, sql, *args):
            if "TRUNCATE" in sql:
                seen.append(session_limits(connection))
            return execute(sql, *args)

        with connection.execute_wrapper(look):
            call_command("flush", interactive=False, verbosity=0)

        assert seen == [UNLIMITED]
        assert session_limits(connection) == USUAL
        assert not User.objects.exists()


class TestWhatIsCounted:
    @uses_database
    def test_a_connection_that_was_opened(self):
        connection.close()
        opened, failed = counting("app_db_connect_seconds"), counting("app_db_connect_failures")

        query("SELECT 1")
        query("SELECT 1")

        assert (list(opened().values()), failed()) == ([1], {})

    @uses_database
    def test_a_connection_that_was_refused(self):
        opened, failed = counting("app_db_connect_seconds"), counting("app_db_connect_failures")
        # Bound and not listening.
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            other = connection.copy()
            other.settings_dict |= {"HOST": "127.0.0.1", "PORT": str(nobody.getsockname()[1])}
            with pytest.raises(OperationalError, match="refused"):
                other.ensure_connection()

        assert (opened(), failed()) == ({}, {"refused": 1})

    @pytest.mark.parametrize(
        ("words", "reason"),
        [
            ('connection to server at "10.0.0.5", port 5432 failed: timeout expired', "timeout"),
            ('connection to server at "10.0.0.5", port 5432 failed: Connection timed out', "timeout"),
            ('connection to server on socket "/run/.s.PGSQL.5432" failed: No such file or directory', "refused"),
            ("connection failed: FATAL:  the database system is starting up", "refused"),
            ("connection failed: FATAL:  the database system is shutting down", "refused"),
            ("connection failed: server closed the connection unexpectedly", "refused"),
            ("connection failed: FATAL:  sorry, too many clients already", "too_many"),
            ('connection failed: FATAL:  too many connections for role "web"', "too_many"),
            ("connection failed: FATAL:  remaining connection slots are reserved for roles with ...", "too_many"),
            ("connection failed: FATAL:  no more connections allowed (max_client_conn)", "too_many"),
            ('connection failed: FATAL:  password authentication failed for user "web"', "authentication"),
            ('connection failed: FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "web"', "authentication"),
            ('connection failed: FATAL:  role "web" does not exist', "authentication"),
            ('connection failed: FATAL:  role "web" is not permitted to log in', "authentication"),
            ('connection failed: FATAL:  database "web" does not exist', "other"),
            ("failed to resolve host 'db': [Errno -2] Name or service not known", "other"),
        ],
    )
    def test_the_reason_is_one_of_a_few_words(self, words, reason):
        assert base.reason_of(psycopg.OperationalError(words)) == reason

    def test_psycopgs_own_clock_is_a_timeout_whatever_it_says(self):
        assert base.reason_of(psycopg.errors.ConnectionTimeout("")) == "timeout"
