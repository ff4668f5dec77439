"""PostgreSQL's log under the shipped configurations: it contains nothing that the application's role sends.

A real server, started as `make up` and `make test` start theirs, and a role that is no superuser on it. Each incident
carries canaries in every place that a customer's data can be in, as literals (as Django sends them) and as parameters of
the extended protocol.
"""

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import yaml
from django.core.management import call_command
from django.db import connection
from psycopg import errors, sql

from config.settings.base import database
from devtools import embedded_postgres
from devtools.embedded_postgres import Cluster
from tests.factories import UserFactory, client_of
from tests.notes.models import Note
from tests.notes.urls import NOTES
from tests.support.password_postgres import connected
from tests.support.paths import ROOT

# A reference, an Idempotency-Key and an amount.
WORD, AMOUNT = "canary", "7654321.99"
CANARIES = (WORD, "7654321")

TABLES = """
    CREATE TABLE house (id int PRIMARY KEY);
    CREATE TABLE bird (
        key text PRIMARY KEY, amount numeric(19, 4) NOT NULL CHECK (amount > 0), short varchar(3), house int REFERENCES house
    );
    INSERT INTO bird VALUES ('first', 1), ('second', 1), ('canary-0', 1);
    CREATE FUNCTION shout(word text) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN RAISE WARNING 'a warning about %', word; RAISE EXCEPTION 'an error about %', word USING DETAIL = word; END
    $$;
    GRANT SELECT, INSERT, UPDATE, DELETE ON bird, house TO sparrow;
    GRANT EXECUTE ON FUNCTION shout TO sparrow;
"""


class LoggedPostgres:
    """The server, and sessions of its roles."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def connect(self, role: str = "sparrow") -> psycopg.Connection:
        return psycopg.connect(host=str(self.cluster.sockets), user=role, dbname="app_test", autocommit=True)

    def log(self) -> str:
        return self.cluster.log.read_text()


@pytest.fixture(scope="module")
def logged_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoggedPostgres]:
    cluster = Cluster("test", tmp_path_factory.mktemp("logged_postgres"))
    cluster.start()
    logged_postgres = LoggedPostgres(cluster)
    try:
        with (cluster.data / "pg_ident.conf").open("a") as users:
            users.write((cluster.data / "pg_ident.conf").read_text().replace(" app", " sparrow"))
        with logged_postgres.connect("app") as superuser:
            superuser.execute("CREATE ROLE sparrow LOGIN; SELECT pg_reload_conf()")
            superuser.execute(TABLES)
        while True:
            with contextlib.suppress(psycopg.OperationalError), logged_postgres.connect():
                break
            time.sleep(0.05)
        yield logged_postgres
    finally:
        cluster.remove()


def literal(connection: psycopg.Connection, statement: str, *values: str) -> None:
    """Send the values inside the statement, as Django does."""
    psycopg.ClientCursor(connection).execute(statement, values)


def parameter(connection: psycopg.Connection, statement: str, *values: str) -> None:
    """Send the values beside the statement."""
    connection.execute(statement, values)


Send = Callable[..., None]
UPDATE = "UPDATE bird SET amount = %s, short = NULL WHERE key = %s OR key = %s"


def lock_timeout(logged_postgres: LoggedPostgres, send: Send) -> None:
    with logged_postgres.connect() as holder, logged_postgres.connect() as waiter, holder.transaction():
        holder.execute("SELECT FROM bird FOR UPDATE")
        waiter.execute("SET lock_timeout = '100ms'")
        with pytest.raises(errors.LockNotAvailable):
            send(waiter, UPDATE, AMOUNT, "first", WORD)


def a_logged_wait(logged_postgres: LoggedPostgres, send: Send) -> None:
    """A server with log_lock_waits on."""
    with logged_postgres.connect("app") as superuser:
        superuser.execute("ALTER ROLE sparrow SET log_lock_waits = on")
        superuser.execute("ALTER ROLE sparrow SET deadlock_timeout = '50ms'")
        try:
            before = logged_postgres.log().count("still waiting for")
            lock_timeout(logged_postgres, send)
            assert logged_postgres.log().count("still waiting for") > before
        finally:
            superuser.execute("ALTER ROLE sparrow RESET ALL")


def statement_timeout(logged_postgres: LoggedPostgres, send: Send) -> None:
    with logged_postgres.connect() as bird:
        bird.execute("SET statement_timeout = '100ms'")
        with pytest.raises(errors.QueryCanceled):
            send(bird, "SELECT pg_sleep(60), %s::text, %s::numeric", WORD, AMOUNT)


def deadlock(logged_postgres: LoggedPostgres, send: Send) -> None:
    with logged_postgres.connect() as one, logged_postgres.connect() as two:
        ended: list[Exception | None] = []

        def cross(bird: psycopg.Connection, mine: str, other: str, met: threading.Barrier) -> None:
            try:
                with bird.transaction():
                    send(bird, UPDATE, AMOUNT, mine, f"{WORD}-1")
                    met.wait()
                    send(bird, UPDATE, AMOUNT, other, f"{WORD}-1")
                ended.append(None)
            except errors.DeadlockDetected as error:
                ended.append(error)

        met = threading.Barrier(2)
        crossing = [
            threading.Thread(target=cross, args=(one, "first", "second", met)),
            threading.Thread(target=cross, args=(two, "second", "first", met)),
        ]
        for thread in crossing:
            thread.start()
        for thread in crossing:
            thread.join()
        assert sorted(error is None for error in ended) == [False, True]
        # What the server would have told in its log.
        assert "Process" in str(next(filter(None, ended)))


def serialization(logged_postgres: LoggedPostgres, send: Send) -> None:
    with logged_postgres.connect() as one, logged_postgres.connect() as two:
        one.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        one.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM bird")
        send(two, UPDATE, AMOUNT, "first", WORD)
        with pytest.raises(errors.SerializationFailure):
            send(one, UPDATE, AMOUNT, "first", WORD)


def refused(expected: type[Exception], statement: str, *values: str) -> Callable[[LoggedPostgres, Send], None]:
    def incident(logged_postgres: LoggedPostgres, send: Send) -> None:
        with logged_postgres.connect() as bird, pytest.raises(expected):
            send(bird, statement, *values)

    return incident


def copied(logged_postgres: LoggedPostgres, send: Send) -> None:
    with (
        logged_postgres.connect() as bird,
        pytest.raises(errors.InvalidTextRepresentation),
        bird.cursor() as cursor,
        cursor.copy("COPY bird (key, amount) FROM STDIN") as copy,
    ):
        copy.write(f"{WORD}\t{WORD}\n")


def terminated(logged_postgres: LoggedPostgres, send: Send) -> None:
    during(logged_postgres, send, lambda superuser, pid: superuser.execute("SELECT pg_terminate_backend(%s)", [pid]))


def crashed(logged_postgres: LoggedPostgres, send: Send) -> None:
    """The postmaster logs the statement of a process that was killed, for example by the OOM killer."""
    ready, killed = "database system is ready to accept connections", "was terminated by signal 9"
    before = logged_postgres.log()
    during(logged_postgres, send, lambda _, pid: os.kill(pid, signal.SIGKILL))
    deadline = time.monotonic() + 60
    # The postmaster may still take connections before it has noticed.
    while logged_postgres.log().count(ready) == before.count(ready):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert logged_postgres.log().count(killed) > before.count(killed)


def during(logged_postgres: LoggedPostgres, send: Send, end: Callable[[psycopg.Connection, int], object]) -> None:
    """End a session in the middle of its statement."""
    bird = logged_postgres.connect()

    def work() -> None:
        with pytest.raises(psycopg.OperationalError):
            send(bird, "SELECT pg_sleep(600), %s::text, %s::numeric", WORD, AMOUNT)

    working = threading.Thread(target=work)
    working.start()
    superuser = logged_postgres.connect("app")
    at_work = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
    while not superuser.execute(at_work, [bird.info.backend_pid]).fetchone():
        time.sleep(0.05)
    end(superuser, bird.info.backend_pid)
    working.join()
    superuser.close()
    bird.close()


INSERT = "INSERT INTO bird (key, amount, short, house) VALUES (%s, %s, %s, %s)"
INCIDENTS = {
    "55P03 lock timeout": lock_timeout,
    "a wait that is logged": a_logged_wait,
    "57014 statement timeout": statement_timeout,
    "40P01 deadlock": deadlock,
    "40001 serialization": serialization,
    "23505 unique": refused(errors.UniqueViolation, INSERT, f"{WORD}-0", AMOUNT, None, None),
    "23514 check": refused(errors.CheckViolation, INSERT, f"{WORD}-2", f"-{AMOUNT}", None, None),
    "23502 not null": refused(errors.NotNullViolation, INSERT, f"{WORD}-2", None, None, None),
    "23503 foreign key": refused(errors.ForeignKeyViolation, INSERT, f"{WORD}-2", AMOUNT, None, "7654321"),
    "22001 too long": refused(errors.StringDataRightTruncation, INSERT, f"{WORD}-2", AMOUNT, WORD, None),
    "22P02 no number": refused(errors.InvalidTextRepresentation, "SELECT %s::text::numeric", WORD),
    "22P02 no id": refused(errors.InvalidTextRepresentation, "SELECT FROM bird WHERE %s::text::uuid IS NULL", WORD),
    "22P02 no JSON": refused(errors.InvalidTextRepresentation, "SELECT %s::text::jsonb", f'{{"{WORD}": {WORD}}}'),
    "22007 no date": refused(errors.InvalidDatetimeFormat, "SELECT %s::text::timestamptz", WORD),
    "22003 too large": refused(errors.NumericValueOutOfRange, "SELECT %s::text::smallint", "7654321"),
    "2201B no pattern": refused(errors.InvalidRegularExpression, "SELECT 'a' ~ %s::text", f"({WORD}"),
    "42601 syntax": refused(errors.SyntaxError, f"SELECT FROM WHERE {WORD}"),
    "42703 no column": refused(errors.UndefinedColumn, f"SELECT {WORD} FROM bird"),
    "42501 no right": refused(errors.InsufficientPrivilege, f"TRUNCATE bird /* {WORD} */"),
    "P0001 a function of ours": refused(errors.RaiseException, "SELECT shout(%s)", WORD),
    "COPY": copied,
    "57P01 terminated": terminated,
    "a crash": crashed,
}


@pytest.mark.parametrize("send", [literal, parameter])
@pytest.mark.parametrize(
    "incident", [pytest.param(name, marks=pytest.mark.slow if name == "a crash" else ()) for name in INCIDENTS]
)
def test_an_incident_tells_nothing_of_what_was_sent(logged_postgres, incident, send):
    before = len(logged_postgres.log())

    INCIDENTS[incident](logged_postgres, send)

    told = logged_postgres.log()[before:]
    assert [line for line in told.splitlines() if any(canary in line for canary in CANARIES)] == []


def test_the_log_is_where_it_would_be_told(logged_postgres):
    """With the settings undone the canary is in the file, so the tests above read the right file."""
    with logged_postgres.connect("app") as superuser:
        superuser.execute("SET log_min_messages = 'warning'; SET log_min_error_statement = 'error'")
        with pytest.raises(errors.InvalidTextRepresentation):
            literal(superuser, "SELECT %s::text::numeric", "a-parrot")

    assert len(re.findall(r"(?:ERROR|STATEMENT): .*a-parrot", logged_postgres.log())) == 2


def test_the_serving_role_cannot_undo_it(logged_postgres):
    with logged_postgres.connect() as bird:
        for name in ("log_min_messages", "log_min_error_statement", "log_error_verbosity", "log_statement"):
            with pytest.raises(errors.InsufficientPrivilege):
                bird.execute(sql.SQL("SET {} = DEFAULT").format(sql.Identifier(name)))


def test_connections_and_the_servers_own_affairs_are_still_told(logged_postgres):
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(host=str(logged_postgres.cluster.sockets), user="nobody", dbname="app_test")

    log = logged_postgres.log()
    assert "database system is ready to accept connections" in log
    assert 'FATAL:  Peer authentication failed for user "nobody"' in log


@pytest.mark.slow
@pytest.mark.urls("tests.notes.urls")
def test_an_ordinary_409_of_the_application_tells_nothing_either(logged_postgres, settings, django_db_blocker):
    owner_url = logged_postgres.cluster.url
    settings.MIGRATION_DATABASE = database(owner_url, key="MIGRATION_DATABASE_URL")
    with django_db_blocker.unblock(), connected(owner_url.replace("//app@", "//sparrow@")):
        call_command("migrate", verbosity=0)
        note = Note.objects.create(owner=UserFactory(), text="x")
        client = client_of(note.owner)
        with logged_postgres.connect("app") as holder, holder.transaction():
            holder.execute("SELECT FROM notes_note FOR UPDATE")
            answer = client.patch(f"{NOTES}{note.pk}/", {"text": WORD})
        assert (answer.status_code, answer.json()["code"]) == (409, "contention")
        note.refresh_from_db()
        assert note.text == "x"
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('is_superuser')")
            assert cursor.fetchone() == ("off",)

    assert not any(canary in logged_postgres.log() for canary in CANARIES)


class TestShippedConfigurations:
    """All shipped configurations have the same settings."""

    @pytest.mark.parametrize(
        ("file", "service"),
        [("compose.local.yml", "db"), ("compose.test.yml", "test-db"), ("compose.production.yml", "db")],
    )
    def test_compose(self, file, service):
        program, *options = yaml.safe_load((ROOT / file).read_text())["services"][service]["command"]

        assert program == "postgres"
        assert set(options[::2]) == {"-c"}
        settings = dict(option.split("=", 1) for option in options[1::2])
        assert embedded_postgres.LOG_SETTINGS.items() <= settings.items()

    def test_rds(self):
        text = Path(ROOT, "deploy/ecs/terraform/environment/data.tf").read_text()
        (block,) = re.findall(r"log_settings = \{\n(.*?)\n  \}", text, re.DOTALL)

        settings = dict(re.findall(r'^ *(\w+) *= "(.*)"$', block, re.MULTILINE))
        assert settings == embedded_postgres.LOG_SETTINGS
        assert "parameter_group_name = aws_db_parameter_group.this.name" in re.sub(" +", " ", text)
