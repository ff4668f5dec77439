"""`migrate` on a database in use: one run at a time, short lock waits with retries, and statements without a time limit."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from io import StringIO

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from apps.database.management.commands import migrate
from apps.database.postgresql import CLIENT_CHECK_INTERVAL_MS
from apps.database.timeouts import RESPONSE_TIMEOUT_S
from tests.support.configuration import FULL
from tests.support.password_postgres import NAME, connected
from tests.support.paths import ROOT
from tests.support.patience import eventually

WAITS_LONGER_THAN_A_LOCK_MAY = """
SELECT count(*) FROM pg_stat_activity
WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND wait_event_type = 'Lock' AND clock_timestamp() - query_start > '400 ms'
"""
TRIGGER_COUNT = "SELECT count(*) FROM pg_trigger WHERE tgname = 'users_deactivation_kills_tokens'"


class AwaitedOutput(StringIO):
    """A command's output, and a count of its lines that contain some words."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words

    @property
    def count(self) -> int:
        return self.getvalue().count(self._words)


@pytest.fixture(autouse=True)
def _short_pauses(settings, monkeypatch):
    """Shorter pauses and lock waits."""
    settings.MIGRATION_LOCK_TIMEOUT_S = 0.2
    monkeypatch.setattr(migrate, "RETRY_PAUSES_S", (0.1,) * 200)
    monkeypatch.setattr(migrate, "LOCK_POLL_S", 0.05)


@pytest.fixture
def as_owner(two_role_database, django_db_blocker):
    with django_db_blocker.unblock(), connected(two_role_database.owner_url):
        yield


@contextmanager
def holding(connection: psycopg.Connection, *statements: str, until: Callable[[], object] | None = None):
    """Execute the statements in a transaction that stays open until a condition is true, or until the block ends."""
    over = threading.Event()

    def wait_and_end() -> None:
        try:
            eventually(lambda: over.is_set() or (until is not None and until()))
        finally:
            connection.execute("COMMIT")

    connection.execute("BEGIN")
    for statement in statements:
        connection.execute(statement)
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(wait_and_end)
        try:
            yield
        finally:
            over.set()
        ended.result()


def show(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return cursor.fetchone()[0]


@pytest.fixture
def triggers(migrates_as_owner, two_role_database):
    """Count a trigger of users; afterwards apply what a test took back, for other tests use the database, too."""
    with two_role_database.as_owner() as owner:
        yield lambda: owner.execute(TRIGGER_COUNT).fetchone()[0]
    call_command("migrate", "users", verbosity=0)


class TestALock:
    def test_that_others_hold_is_waited_for_in_short_turns_so_that_nobody_waits_long_behind(
        self, migrates_as_owner, two_role_database, triggers, capsys
    ):
        tries, over = AwaitedOutput("locked: trying again in"), threading.Event()
        # How often the migration had given up its place in the row when a look was over.
        looks = []

        def look():
            with two_role_database.as_app_role() as customer:
                while not over.is_set():
                    customer.execute("SELECT count(*) FROM users_user")
                    looks.append(tries.count)
                    time.sleep(0.01)

        looking = threading.Thread(target=look)
        looking.start()
        try:
            # It holds what the migration wants until others have looked between two of its tries.
            seen = lambda: tries.count >= 2 and {1, 2} & set(looks)  # noqa: E731  it is a condition
            with two_role_database.as_app_role() as writer, holding(writer, "SELECT FROM users_user", until=seen):
                call_command("migrate", "users", "0001", verbosity=0, stderr=tries)
            assert triggers() == 0
        finally:
            over.set()
            looking.join()
            call_command("migrate", "users", verbosity=0)

        assert triggers() == 1
        assert tries.count >= 2

    def test_that_never_comes_ends_it_with_nothing_done(
        self, migrates_as_owner, two_role_database, triggers, monkeypatch
    ):
        monkeypatch.setattr(migrate, "RETRY_PAUSES_S", (0.1,))
        with (
            two_role_database.as_app_role() as writer,
            holding(writer, "SELECT FROM users_user"),
            pytest.raises(CommandError, match="at each of 2 tries"),
        ):
            call_command("migrate", "users", "0001", verbosity=0)

        assert triggers() == 1

    def test_in_the_middle_of_what_is_no_transaction_ends_it_and_says_so(
        self, migrates_as_owner, two_role_database, triggers, monkeypatch
    ):
        call_command("migrate", "users", "0001", verbosity=0)
        module = import_module("apps.users.migrations.0002_token_triggers")
        with (
            monkeypatch.context() as changed,
            two_role_database.as_app_role() as writer,
            holding(writer, "LOCK TABLE users_user IN ROW EXCLUSIVE MODE"),
        ):
            changed.setattr(module.Migration, "atomic", False)
            with pytest.raises(CommandError, match=r"users\.0002_token_triggers is not a transaction"):
                call_command("migrate", "users", verbosity=0)
        assert triggers() == 0

        call_command("migrate", "users", verbosity=0)

        assert triggers() == 1

    def test_is_no_matter_for_work_that_nobody_waits_behind(self, as_owner, two_role_database):
        """CREATE INDEX CONCURRENTLY waits for every transaction that is older, and that may take a while."""
        with migrate._migration_timeouts(connection), connection.cursor() as cursor:
            with (
                two_role_database.as_owner() as look,
                two_role_database.as_owner() as other,
                holding(
                    other,
                    "LOCK TABLE users_token IN ROW EXCLUSIVE MODE",
                    until=lambda: look.execute(WAITS_LONGER_THAN_A_LOCK_MAY).fetchone()[0],
                ),
            ):
                with pytest.raises(OperationalError, match="lock timeout"):
                    cursor.execute("CREATE INDEX patient ON users_token (created_at)")
                cursor.execute("CREATE INDEX CONCURRENTLY patient ON users_token (created_at)")
            assert show("lock_timeout") == "200ms"
            cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'patient'::regclass")
            assert cursor.fetchone() == (True,)
            cursor.execute("DROP INDEX CONCURRENTLY patient")


class TestTheExclusiveLock:
    def test_is_waited_for(self, migrates_as_owner, two_role_database):
        said = AwaitedOutput("is running")
        with (
            two_role_database.as_owner() as other,
            holding(other, f"SELECT pg_advisory_xact_lock{migrate.ADVISORY_LOCK_ID}", until=lambda: said.count),
        ):
            call_command("migrate", verbosity=0, stderr=said)

        assert said.getvalue() == "Another migrate is running: waiting for it.\n"

    def test_that_does_not_come_ends_it(self, migrates_as_owner, two_role_database, monkeypatch):
        monkeypatch.setattr(migrate, "LOCK_WAIT_TIMEOUT_S", 0.2)
        with (
            two_role_database.as_owner() as other,
            holding(other, f"SELECT pg_advisory_xact_lock{migrate.ADVISORY_LOCK_ID}"),
            pytest.raises(CommandError, match="another migrate"),
        ):
            call_command("migrate", verbosity=0)

    def test_is_not_needed_to_look(self, as_app_role, two_role_database, capsys, monkeypatch):
        monkeypatch.setattr(migrate, "LOCK_WAIT_TIMEOUT_S", 0.2)
        with (
            two_role_database.as_owner() as other,
            holding(other, f"SELECT pg_advisory_xact_lock{migrate.ADVISORY_LOCK_ID}"),
        ):
            call_command("migrate", "--check", verbosity=0)
            call_command("migrate", "--plan")

        assert "No planned migration operations" in capsys.readouterr().out


def test_a_statement_takes_as_long_as_it_takes_and_then_the_usual_limits_hold(as_owner):
    limits = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    checks = ("client_connection_check_interval", "tcp_keepalives_idle")
    usual = [show(name) for name in limits]
    unchecked = [show(name) for name in checks]

    with migrate._migration_timeouts(connection):
        assert connection.connection.response_timeout_s is None
        assert [show(name) for name in limits] == ["200ms", "0", "0"]
        assert [show(name) for name in checks] == [f"{CLIENT_CHECK_INTERVAL_MS // 1000}s", "10"]

    assert connection.connection.response_timeout_s == RESPONSE_TIMEOUT_S
    assert [show(name) for name in limits] == usual == ["2s", "5s", "10s"]
    assert [show(name) for name in checks] == unchecked


# A statement that has its lock and goes on for ten minutes, in whatever migration drops a trigger.
LONG_STATEMENT = """
    CREATE FUNCTION take_long() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); END';
    CREATE EVENT TRIGGER take_long ON ddl_command_end WHEN TAG IN ('DROP TRIGGER') EXECUTE FUNCTION take_long();
"""
ITS_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
AT_WORK = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%DROP TRIGGER%'"


@pytest.fixture
def takes_long(password_postgres, two_role_database):
    with password_postgres.connect_as_superuser(NAME) as superuser:
        superuser.execute(LONG_STATEMENT)
        try:
            yield superuser
        finally:
            superuser.execute("DROP EVENT TRIGGER take_long; DROP FUNCTION take_long()")


@pytest.mark.slow
class TestAClientThatIsGone:
    def test_takes_its_statement_its_locks_and_its_turn_with_it(self, takes_long, two_role_database, triggers):
        given = FULL | {
            "DATABASE_URL": two_role_database.app_role_url,
            "MIGRATION_DATABASE_URL": two_role_database.owner_url,
        }
        process = subprocess.Popen(
            [sys.executable, "manage.py", "migrate", "users", "0001", "--noinput"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]} | given,  # noqa: TID251  the child's, with nothing else of ours
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            (backend,) = eventually(lambda: takes_long.execute(AT_WORK).fetchone())
            with two_role_database.as_app_role() as customer:
                customer.execute("SET lock_timeout = '200ms'")
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    customer.execute("SELECT count(*) FROM users_user")
                assert not lock_is_free(customer)

                process.send_signal(signal.SIGKILL)
                process.wait()
                killed_at = time.monotonic()

                eventually(lambda: takes_long.execute(ITS_SESSIONS, [backend]).fetchone() == (0,))
                print(f"the session was gone {time.monotonic() - killed_at:.1f} s after its client")
                customer.execute("SELECT count(*) FROM users_user")
                assert lock_is_free(customer)
            assert triggers() == 1
        finally:
            process.kill()
            process.wait()


def lock_is_free(connection: psycopg.Connection) -> bool:
    (free,) = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", migrate.ADVISORY_LOCK_ID).fetchone()
    connection.execute("SELECT pg_advisory_unlock_all()")
    return free
