"""Migrating a database that is in use: one at a time, never in anybody's way for long, and with all the time it needs."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from importlib import import_module

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from apps.core.postgresql import CLIENT_CHECK_INTERVAL_MS, base
from config.management.commands import migrate
from tests.config.test_boot import ROOT
from tests.config.test_environment import FULL
from tests.guarded import NAME, connected

LEDGERS_TRIGGER = "SELECT count(*) FROM pg_trigger WHERE tgname = 'ledger_entry_is_append_only'"


@pytest.fixture(autouse=True)
def _soon(settings, monkeypatch):
    """What takes a second, in a fifth of it."""
    settings.MIGRATION_LOCK_TIMEOUT_S = 0.2
    monkeypatch.setattr(migrate, "PAUSES_S", (0.1,) * 20)
    monkeypatch.setattr(migrate, "TURN_POLL_S", 0.05)


@pytest.fixture
def as_owner(vault, django_db_blocker):
    with django_db_blocker.unblock(), connected(vault.owner_url):
        yield


@contextmanager
def for_a_while(connection: psycopg.Connection, seconds: float, *statements: str):
    """Do what the statements say in a transaction that ends by itself."""
    connection.execute("BEGIN")
    for statement in statements:
        connection.execute(statement)
    end = threading.Timer(seconds, connection.execute, ["COMMIT"])
    end.start()
    try:
        yield
    finally:
        end.join()


def show(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return cursor.fetchone()[0]


@pytest.fixture
def triggers(vault):
    with vault.owner() as owner:
        yield lambda: owner.execute(LEDGERS_TRIGGER).fetchone()[0]


class TestALock:
    def test_that_others_hold_is_waited_for_in_short_turns_so_that_nobody_waits_long_behind(
        self, migrates_as_owner, vault, triggers, capsys
    ):
        slowest_s, over = 0.0, threading.Event()

        def look():
            nonlocal slowest_s
            with vault.teller() as customer:
                while not over.is_set():
                    start = time.monotonic()
                    customer.execute("SELECT count(*) FROM ledger_entry")
                    slowest_s = max(slowest_s, time.monotonic() - start)
                    time.sleep(0.01)

        looking = threading.Thread(target=look)
        looking.start()
        try:
            with vault.teller() as writer, for_a_while(writer, 2, "SELECT FROM ledger_entry"):
                call_command("migrate", "ledger", "0001", verbosity=0)
            assert triggers() == 0
        finally:
            over.set()
            looking.join()
            call_command("migrate", "ledger", verbosity=0)

        assert triggers() == 1
        print(f"the slowest look took {slowest_s:.2f} s")
        assert slowest_s < 1.0
        assert capsys.readouterr().err.count("locked by others: again in") >= 2

    def test_that_never_comes_ends_it_with_nothing_done(self, migrates_as_owner, vault, triggers, monkeypatch):
        monkeypatch.setattr(migrate, "PAUSES_S", (0.1,))
        with (
            vault.teller() as writer,
            for_a_while(writer, 2, "SELECT FROM ledger_entry"),
            pytest.raises(CommandError, match="at each of 2 tries"),
        ):
            call_command("migrate", "ledger", "0001", verbosity=0)

        assert triggers() == 1

    def test_in_the_middle_of_what_is_no_transaction_ends_it_and_says_so(
        self, migrates_as_owner, vault, triggers, monkeypatch
    ):
        call_command("migrate", "ledger", "0001", verbosity=0)
        module = import_module("apps.ledger.migrations.0002_entries_are_append_only")
        with (
            monkeypatch.context() as changed,
            vault.teller() as writer,
            for_a_while(writer, 1, "LOCK TABLE ledger_entry IN ROW EXCLUSIVE MODE"),
        ):
            changed.setattr(module.Migration, "atomic", False)
            with pytest.raises(CommandError, match=r"ledger\.0002_entries_are_append_only is not a transaction"):
                call_command("migrate", "ledger", verbosity=0)
        assert triggers() == 0

        call_command("migrate", "ledger", verbosity=0)

        assert triggers() == 1

    def test_is_no_matter_for_work_that_nobody_waits_behind(self, as_owner, vault):
        """CREATE INDEX CONCURRENTLY waits for every transaction that is older, and that may take a while."""
        with migrate._without_haste(connection), connection.cursor() as cursor:
            with vault.owner() as other, for_a_while(other, 0.8, "LOCK TABLE users_token IN ROW EXCLUSIVE MODE"):
                with pytest.raises(OperationalError, match="lock timeout"):
                    cursor.execute("CREATE INDEX patient ON users_token (created_at)")
                cursor.execute("CREATE INDEX CONCURRENTLY patient ON users_token (created_at)")
            assert show("lock_timeout") == "200ms"
            cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'patient'::regclass")
            assert cursor.fetchone() == (True,)
            cursor.execute("DROP INDEX CONCURRENTLY patient")


class TestATurn:
    def test_is_waited_for(self, migrates_as_owner, vault, capsys):
        with (
            vault.owner() as other,
            for_a_while(other, 0.6, f"SELECT pg_advisory_xact_lock{migrate.ONE_AT_A_TIME}"),
        ):
            start = time.monotonic()
            call_command("migrate", verbosity=0)
            elapsed = time.monotonic() - start

        assert elapsed > 0.5
        assert capsys.readouterr().err == "Another migrate is at work: waiting for it.\n"

    def test_that_does_not_come_ends_it(self, migrates_as_owner, vault, monkeypatch):
        monkeypatch.setattr(migrate, "TURN_TIMEOUT_S", 0.2)
        with (
            vault.owner() as other,
            for_a_while(other, 1, f"SELECT pg_advisory_xact_lock{migrate.ONE_AT_A_TIME}"),
            pytest.raises(CommandError, match="another migrate"),
        ):
            call_command("migrate", verbosity=0)

    def test_is_not_needed_to_look(self, as_teller, vault, capsys):
        with (
            vault.owner() as other,
            for_a_while(other, 0.5, f"SELECT pg_advisory_xact_lock{migrate.ONE_AT_A_TIME}"),
        ):
            call_command("migrate", "--check", verbosity=0)
            call_command("migrate", "--plan")

        assert "No planned migration operations" in capsys.readouterr().out


def test_a_statement_takes_as_long_as_it_takes_and_then_the_usual_limits_hold(as_owner, monkeypatch):
    monkeypatch.setattr(base.ImpatientConnection, "answer_timeout_s", 0.2)
    limits = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    checks = ("client_connection_check_interval", "tcp_keepalives_idle")
    usual = [show(name) for name in limits]
    unchecked = [show(name) for name in checks]

    with migrate._without_haste(connection), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.5)")
        assert [show(name) for name in limits] == ["200ms", "0", "0"]
        assert [show(name) for name in checks] == [f"{CLIENT_CHECK_INTERVAL_MS // 1000}s", "10"]

    assert [show(name) for name in limits] == usual == ["2s", "5s", "10s"]
    assert [show(name) for name in checks] == unchecked
    with pytest.raises(OperationalError, match="did not answer"), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.5)")


# A statement that has its lock and goes on for ten minutes, in whatever migration drops a trigger.
LONG_STATEMENT = """
    CREATE FUNCTION take_long() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); END';
    CREATE EVENT TRIGGER take_long ON ddl_command_end WHEN TAG IN ('DROP TRIGGER') EXECUTE FUNCTION take_long();
"""
ITS_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
AT_WORK = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%DROP TRIGGER%'"
# Against 600: what is waited for is over long before, or not at all.
SOON_ENOUGH_S = 60


def eventually(ask):
    deadline = time.monotonic() + SOON_ENOUGH_S
    while not (answer := ask()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return answer


@pytest.fixture
def takes_long(guarded, vault):
    with guarded.connect_as_superuser(NAME) as superuser:
        superuser.execute(LONG_STATEMENT)
        try:
            yield superuser
        finally:
            superuser.execute("DROP EVENT TRIGGER take_long; DROP FUNCTION take_long()")


@pytest.mark.slow
class TestAClientThatIsGone:
    def test_takes_its_statement_its_locks_and_its_turn_with_it(self, takes_long, vault, triggers):
        given = FULL | {"DATABASE_URL": vault.teller_url, "MIGRATION_DATABASE_URL": vault.owner_url}
        process = subprocess.Popen(
            [sys.executable, "manage.py", "migrate", "ledger", "0001", "--noinput"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]} | given,  # noqa: TID251  the child's, with nothing else of ours
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            (backend,) = eventually(lambda: takes_long.execute(AT_WORK).fetchone())
            with vault.teller() as customer:
                customer.execute("SET lock_timeout = '200ms'")
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    customer.execute("SELECT count(*) FROM ledger_entry")
                assert not turn_is_free(customer)

                process.send_signal(signal.SIGKILL)
                process.wait()
                killed_at = time.monotonic()

                eventually(lambda: takes_long.execute(ITS_SESSIONS, [backend]).fetchone() == (0,))
                print(f"the session was gone {time.monotonic() - killed_at:.1f} s after its client")
                customer.execute("SELECT count(*) FROM ledger_entry")
                assert turn_is_free(customer)
            assert triggers() == 1
        finally:
            process.kill()
            process.wait()


def turn_is_free(connection: psycopg.Connection) -> bool:
    (free,) = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", migrate.ONE_AT_A_TIME).fetchone()
    connection.execute("SELECT pg_advisory_unlock_all()")
    return free
