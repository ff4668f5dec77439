"""`manage.py housekeeping`: deleted rows, exit codes, and that requests and other sessions are not blocked."""

import json
import logging
import os
import subprocess
import sys
import threading
from datetime import timedelta

import psycopg
import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import OperationalError, connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.core import housekeeping
from apps.core.models import HousekeepingRun
from apps.users.models import LoginFailures, Token
from tests.factories import UserFactory, client_of
from tests.support.databases import database_url
from tests.support.paths import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

LOGGER = "apps.core.management.commands.housekeeping"
ADDRESS = {"host", "port", "user", "password", "dbname"}
CLEANUP, VERIFICATION = HousekeepingRun.Part


@pytest.fixture
def run(caplog):
    """Run the command; return its exit code and the only line that it logged."""
    caplog.set_level(logging.INFO, LOGGER)

    def run_it(*arguments: str) -> tuple[int, logging.LogRecord]:
        caplog.clear()
        try:
            call_command("housekeeping", *arguments)
            code = 0
        except SystemExit as ended:
            code = ended.code
        (line,) = caplog.records
        return code, line

    return run_it


@pytest.fixture
def without_registered(monkeypatch):
    """An empty registry."""
    monkeypatch.setattr(housekeeping, "tasks", {})
    monkeypatch.setattr(housekeeping, "checks", {})


@pytest.fixture
def other():
    """Another session on the same database."""
    parameters = connection.get_connection_params()
    with psycopg.connect(
        **{name: parameters[name] for name in ADDRESS & parameters.keys()}, autocommit=True
    ) as session:
        yield session


def fail() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 'canary'::uuid")


def failures(number: int, *, finished: bool = True) -> None:
    ends_at = timezone.now() + timedelta(minutes=-1 if finished else 1)
    LoginFailures.objects.bulk_create(
        LoginFailures(scope=f"{'finished' if finished else 'open'}-{n:04}", count=1, window_ends_at=ends_at)
        for n in range(number)
    )


class TestWhatIsDeleted:
    def test_tokens_that_are_expired(self, user, run):
        live, expired, _ = client_of(user), client_of(UserFactory()), client_of(UserFactory())
        Token.objects.exclude(user=user).update(expires_at=timezone.now())

        code, line = run()

        assert (code, line.msg) == (0, "Housekeeping done")
        assert {"name": "tokens", "deleted": 2} in line.tasks
        assert live.get("/api/v1/users/me/").status_code == 200
        assert expired.get("/api/v1/users/me/").status_code == 401

    def test_counts_of_failed_logins_whose_window_is_over(self, run):
        failures(3)
        failures(2, finished=False)

        _, line = run()

        assert {"name": "login failures", "deleted": 3} in line.tasks
        assert LoginFailures.objects.count() == 2

    @pytest.mark.parametrize("engine", ["db", "cached_db"])
    def test_sessions_that_are_expired(self, run, settings, engine):
        settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
        for _ in range(3):
            SessionStore().save(must_create=True)
        Session.objects.filter(pk=Session.objects.first().pk).update(expire_date=timezone.now())

        _, line = run()

        assert {"name": "sessions", "deleted": 1} in line.tasks
        assert Session.objects.count() == 2

    @pytest.mark.parametrize("engine", ["cache", "signed_cookies", "file"])
    def test_sessions_elsewhere_are_their_engines_business(self, run, settings, engine, tmp_path):
        settings.SESSION_ENGINE, settings.SESSION_FILE_PATH = (
            f"django.contrib.sessions.backends.{engine}",
            str(tmp_path),
        )

        code, line = run()

        assert code == 0
        assert {"name": "sessions", "deleted": 0} in line.tasks


class TestBatches:
    @pytest.mark.parametrize("rows", [0, 1, 9, 10, 11, 20, 35])
    def test_no_statement_deletes_more_than_one(self, monkeypatch, rows):
        monkeypatch.setattr(housekeeping, "BATCH_SIZE", 10)
        failures(rows)
        failures(15, finished=False)
        sizes = []
        delete = housekeeping._delete_now

        def measured(batch):
            sizes.append(batch.count())
            return delete(batch)

        monkeypatch.setattr(housekeeping, "_delete_now", measured)

        deleted = housekeeping.delete_in_batches(LoginFailures.objects.filter(window_ends_at__lte=timezone.now()))

        assert (deleted, sum(sizes)) == (rows, rows)
        assert max(sizes) <= 10
        assert LoginFailures.objects.count() == 15

    def test_each_is_found_by_the_primary_key_whatever_the_condition(self, monkeypatch):
        monkeypatch.setattr(housekeeping, "BATCH_SIZE", 2)
        for _ in range(5):
            client_of(UserFactory())
        dead = Token.objects.filter(created_at__gte=F("user__date_joined") - timedelta(days=1))

        with CaptureQueriesContext(
            connection,
        ) as sent:
            assert housekeeping.delete_in_batches(dead) == 5

        deletes = [query["sql"] for query in sent if query["sql"].startswith("DELETE")]
        assert len(deletes) == 3
        assert all('"id" <= ' in statement for statement in deletes[:-1])
        assert [statement.count('"id" > ') for statement in deletes] == [0, 1, 1]

    def test_a_row_that_others_hold_is_given_way_to_and_taken_later(self, monkeypatch, other):
        monkeypatch.setattr(housekeeping, "RETRY_PAUSES_S", (0.05,) * 100)
        failures(3)
        other.execute("BEGIN; SELECT FROM users_loginfailures WHERE scope = 'finished-0001' FOR UPDATE")
        given_way = threading.Event()
        sleep = housekeeping.time.sleep
        monkeypatch.setattr(housekeeping.time, "sleep", lambda seconds: (given_way.set(), sleep(seconds)))
        released = threading.Thread(target=lambda: (given_way.wait(30), other.execute("COMMIT")))
        released.start()

        deleted = housekeeping.delete_in_batches(LoginFailures.objects.all())

        released.join()
        assert given_way.is_set()
        assert deleted == 3

    def test_whoever_crosses_a_batch_is_not_the_victim(self, monkeypatch, other):
        """A login takes its rows in order, a batch in any: where they cross, it is the batch that lets go."""
        monkeypatch.setattr(housekeeping, "RETRY_PAUSES_S", (0.05,) * 100)
        failures(2)
        other.execute("BEGIN; SELECT FROM users_loginfailures WHERE scope = 'finished-0001' FOR UPDATE")
        crossing = threading.Event()
        sleep = housekeeping.time.sleep
        monkeypatch.setattr(housekeeping.time, "sleep", lambda seconds: (crossing.set(), sleep(seconds)))
        ended: list[str] = []

        def cross() -> None:
            # Where a batch does not let go, it has looked for a deadlock by then, and the next to look is its victim.
            crossing.wait(1.5)
            other.execute("UPDATE users_loginfailures SET count = count + 1 WHERE scope = 'finished-0000'")
            other.execute("COMMIT")
            ended.append("well")

        crosses = threading.Thread(target=cross)
        crosses.start()

        assert housekeeping.delete_in_batches(LoginFailures.objects.all()) == 2
        crosses.join()
        assert ended == ["well"]

    def test_a_row_that_is_never_given_back_fails_the_task_and_no_other(self, monkeypatch, other, run):
        monkeypatch.setattr(housekeeping, "RETRY_PAUSES_S", (0.01,))
        failures(3)
        SessionStore().save(must_create=True)
        Session.objects.update(expire_date=timezone.now())
        other.execute("BEGIN; SELECT FROM users_loginfailures WHERE scope = 'finished-0001' FOR UPDATE")

        code, line = run()

        other.execute("ROLLBACK")
        assert (code, line.msg, line.levelname) == (1, "Housekeeping failed", "ERROR")
        assert {"name": "login failures", "error": "OperationalError"} in line.tasks
        assert isinstance(line.exc_info[1], OperationalError)
        assert {"name": "sessions", "deleted": 1} in line.tasks


class TestEnds:
    def test_done_is_recorded(self, monkeypatch, run):
        monkeypatch.setattr(housekeeping, "checks", {"stock": list})
        start = timezone.now()

        code, line = run("--verify")

        assert (code, line.levelname, line.exc_info) == (0, "INFO", None)
        assert line.checks == [{"name": "stock", "findings": []}]
        runs = HousekeepingRun.objects.in_bulk()
        assert runs.keys() == {CLEANUP, VERIFICATION}
        assert all(start <= each.succeeded_at <= timezone.now() and not each.failed_at for each in runs.values())

    def test_without_verify_nothing_is_verified(self, run):
        _, line = run()

        assert not hasattr(line, "checks")
        assert [each.part for each in HousekeepingRun.objects.all()] == [CLEANUP]

    def test_a_task_that_fails_stops_no_other_and_is_recorded(self, run, without_registered, monkeypatch):
        run()
        before = HousekeepingRun.objects.get().succeeded_at
        monkeypatch.setattr(housekeeping, "tasks", {"first": fail, "second": lambda: 7, "third": fail})
        monkeypatch.setattr(housekeeping, "checks", {"stock": list})

        code, line = run("--verify")

        assert code == 1
        assert [task["name"] for task in line.tasks] == ["first", "second", "third"]
        assert line.tasks[1] == {"name": "second", "deleted": 7}
        assert line.checks == [{"name": "stock", "findings": []}]
        assert "canary" not in str(line.tasks)
        cleanup = HousekeepingRun.objects.get(part=CLEANUP)
        assert cleanup.succeeded_at == before < cleanup.failed_at
        assert HousekeepingRun.objects.get(part=VERIFICATION).succeeded_at

    def test_a_task_that_loses_the_connection_stops_no_other(self, run, without_registered, monkeypatch, other):
        def lose() -> int:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                other.execute("SELECT pg_terminate_backend(%s, 10000)", cursor.fetchone())
                cursor.execute("SELECT 1")
            return 0

        monkeypatch.setattr(housekeeping, "tasks", {"loses": lose, "counts": LoginFailures.objects.count})

        code, line = run()

        assert (code, line.tasks[1]) == (1, {"name": "counts", "deleted": 0})
        assert HousekeepingRun.objects.get().failed_at

    def test_what_a_check_finds_is_another_failure(self, run, without_registered, monkeypatch):
        monkeypatch.setattr(housekeeping, "checks", {"shelves": lambda: ["a book is missing"]})

        code, line = run("--verify")

        assert (code, line.msg, line.levelname) == (4, "Verification failed", "CRITICAL")
        assert line.checks == [{"name": "shelves", "findings": ["a book is missing"]}]
        assert HousekeepingRun.objects.get(part=CLEANUP).succeeded_at
        verification = HousekeepingRun.objects.get(part=VERIFICATION)
        assert verification.failed_at
        assert not verification.succeeded_at

    def test_a_check_that_cannot_run_has_found_nothing(self, run, without_registered, monkeypatch):
        monkeypatch.setattr(housekeeping, "checks", {"broken": fail, "good": list})

        code, _ = run("--verify")

        assert code == 1
        assert not HousekeepingRun.objects.filter(part=VERIFICATION).exists()

    def test_the_worst_code_wins(self, run, without_registered, monkeypatch):
        monkeypatch.setattr(housekeeping, "tasks", {"fails": fail})
        monkeypatch.setattr(housekeeping, "checks", {"lies": lambda: ["a lie"]})

        assert run("--verify")[0] == 4

    def test_a_second_one_says_so_and_does_nothing(self, run, other):
        failures(1)
        other.execute("SELECT pg_advisory_lock(%s, %s)", housekeeping.ADVISORY_LOCK_ID)

        code, line = run()

        assert (code, line.msg) == (3, "Housekeeping not started: another one is running")
        assert LoginFailures.objects.count() == 1
        assert not HousekeepingRun.objects.exists()
        other.close()
        assert run()[0] == 0

    def test_one_that_runs_bars_the_way_until_it_ends_however_it_ends(
        self, run, without_registered, monkeypatch, other
    ):
        seen = []

        def look() -> int:
            seen.append(
                other.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", housekeeping.ADVISORY_LOCK_ID).fetchone()
            )
            raise ZeroDivisionError

        monkeypatch.setattr(housekeeping, "tasks", {"looks": look})

        assert [run()[0], run()[0]] == [1, 1]
        assert seen == [(False,), (False,)]

    def test_no_database_is_a_line_and_a_code(self, run, monkeypatch):
        def refuse(*_: object) -> None:
            raise OperationalError

        monkeypatch.setattr(housekeeping.connections, "create_connection", refuse)

        assert run()[0] == 1


class TestRegistry:
    def test_a_name_is_taken_once(self, without_registered):
        housekeeping.task("carts")(int)

        with pytest.raises(ValueError, match="two functions are registered for housekeeping as 'carts'"):
            housekeeping.task("carts")(int)
        housekeeping.check("carts")(list)

    def test_has_what_the_apps_bring(self):
        assert {"tokens", "login failures", "sessions"} <= housekeeping.tasks.keys()


def gauge(of, part: str) -> float:
    return of.labels(part)._value.get()


def test_the_record_is_published(run):
    for of in (housekeeping.LAST_SUCCESS, housekeeping.LAST_FAILURE):
        for part in HousekeepingRun.Part:
            of.labels(part).set(0)
    run()

    housekeeping.publish()

    (cleanup,) = HousekeepingRun.objects.all()
    assert gauge(housekeeping.LAST_SUCCESS, CLEANUP) == cleanup.succeeded_at.timestamp()
    assert gauge(housekeeping.LAST_FAILURE, CLEANUP) == 0
    assert gauge(housekeeping.LAST_SUCCESS, VERIFICATION) == 0


@pytest.mark.slow
def test_a_shell_sees_the_code_and_one_line(other):
    def housekeep() -> tuple[int, dict]:
        done = subprocess.run(
            [sys.executable, "manage.py", "housekeeping", "--verify"],
            cwd=ROOT,
            env=os.environ  # noqa: TID251  the child's is ours with some changed
            | {
                "DJANGO_SETTINGS_MODULE": "config.settings.test",
                "TEST_DATABASE_URL": database_url(),
                "LOG_FORMAT": "json",
            },
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        return done.returncode, json.loads(line)

    failures(2)
    code, line = housekeep()
    assert (code, line["level"], line["event"]) == (0, "info", "Housekeeping done")
    assert {"name": "login failures", "deleted": 2} in line["tasks"]
    assert line.get("checks", []) == [{"name": name, "findings": []} for name in housekeeping.checks]

    other.execute("SELECT pg_advisory_lock(%s, %s)", housekeeping.ADVISORY_LOCK_ID)
    code, line = housekeep()
    assert (code, line["level"]) == (3, "warning")
