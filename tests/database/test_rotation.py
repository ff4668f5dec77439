"""A live role's password is rotated while the application serves: a real server with passwords, and a real AWS API."""

import contextlib
import http.client
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg
import pytest
from django.db import OperationalError, connections

from apps.database.postgresql.base import DatabaseWrapper
from apps.database.postgresql.credentials import password_was_sent
from config import env as environment
from config import secrets_manager as secrets
from config.keys import connections_fit
from config.settings.base import database
from tests.support import aws
from tests.support.configuration import FULL
from tests.support.metric_deltas import counting
from tests.support.password_postgres import PasswordPostgres
from tests.support.paths import ROOT
from tests.support.patience import HANG_S, eventually
from tests.support.server import Server

HOST = "app.example.org"


@dataclass
class Deployed:
    """The process of the tests as a deployment that has read its secret."""

    password_postgres: PasswordPostgres
    moto: aws.Moto
    environment: pytest.MonkeyPatch

    def put(self, password: str) -> None:
        self.put_url(self.password_postgres.url(password))

    def put_url(self, url: str) -> None:
        self.moto.put("app/rotation", secret_for(url))

    def outage(self) -> None:
        self.environment.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")


@pytest.fixture
def deployed(password_postgres, moto, monkeypatch, _no_secret_held) -> Deployed:
    deployed = Deployed(password_postgres, moto, monkeypatch)
    password_postgres.rotate("first")
    deployed.put("first")
    outside = aws.environment(moto.url) | {
        "APP_SECRETS_ID": "app/rotation",
        "DJANGO_SETTINGS_MODULE": "config.settings.production",
    }
    for name, value in outside.items():
        monkeypatch.setenv(name, value)
    # Docker's, which would come before the secret's.
    monkeypatch.delenv("DATABASE_URL", raising=False)
    environment.load()
    # A rotation is seldom within a moment of the start.
    monkeypatch.setattr(secrets._cache, "tried_at", -HANG_S)
    # However slow the machine is, this is the same moment still.
    monkeypatch.setattr(secrets.refresh, "__kwdefaults__", {"pause_s": HANG_S})
    return deployed


def secret_for(url: str) -> dict[str, str]:
    return {"SECRET_KEY": FULL["SECRET_KEY"], "ALLOWED_HOSTS": HOST, "DATABASE_URL": url}


@pytest.fixture
def backend(password_postgres):
    """Make Django's connections to the guarded server: all of one `DATABASES` entry, as threads have them."""
    made = []
    entry = connections["default"].settings_dict | database(password_postgres.url("first"))

    def make(**changed) -> DatabaseWrapper:
        made.append(DatabaseWrapper(entry, "default"))
        entry.update(changed)
        return made[-1]

    yield make
    for connection in made:
        connection.close()


@pytest.fixture
def readings(monkeypatch) -> list[str]:
    """Count the requests to AWS, and pass them on."""
    asked: list[str] = []
    fetch = secrets.fetch

    def counted(secret_id: str, *args):
        asked.append(secret_id)
        return fetch(secret_id, *args)

    monkeypatch.setattr(secrets, "fetch", counted)
    return asked


def current_user(connection: DatabaseWrapper) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        return cursor.fetchone()[0]


HOOK: dict[str, Callable[[str], str]] = {}


def own_hook(key: str) -> str:
    """Return a URL whose password is the key's own name."""
    return HOOK["url"](key)


@pytest.mark.django_db(transaction=True)  # allows connections; these are not to the suite's database
class TestTheBackend:
    def test_reads_a_rotated_password_once_for_all_threads(self, password_postgres, deployed, backend, readings):
        assert current_user(backend()) == "web"
        password_postgres.rotate("second")
        deployed.put("second")
        failures = counting("app_db_connect_failures")

        assert current_user(backend()) == "web"
        assert current_user(backend()) == "web"
        assert readings == ["app/rotation"]
        # The one that was healed is told as well.
        assert failures() == {"authentication": 1}

    def test_fails_no_thread_of_many_that_are_refused_at_once(self, password_postgres, deployed, backend, readings):
        refused = [backend() for _ in range(8)]
        password_postgres.rotate("second")
        deployed.put("second")
        start = threading.Barrier(len(refused))

        def log_in(connection: DatabaseWrapper) -> str:
            connection.inc_thread_sharing()
            start.wait(timeout=HANG_S)
            return current_user(connection)

        with ThreadPoolExecutor(len(refused)) as pool:
            assert list(pool.map(log_in, refused)) == ["web"] * len(refused)
        assert readings == ["app/rotation"]

    def test_follows_a_rotation_that_alternates_users(self, password_postgres, deployed, backend):
        assert current_user(backend()) == "web"
        password_postgres.owner.execute("CREATE ROLE web_clone LOGIN PASSWORD 'clone' IN ROLE web")
        password_postgres.rotate("second")
        deployed.put_url(password_postgres.url("clone", user="web_clone"))

        assert current_user(backend()) == "web_clone"

    def test_gives_up_after_one_reading_that_brings_nothing_new(self, password_postgres, deployed, backend, readings):
        password_postgres.rotate("nobody knows")

        for _ in range(3):
            with pytest.raises(OperationalError, match="password authentication failed"):
                backend().ensure_connection()
        assert readings == ["app/rotation"]

    def test_gives_up_after_one_retry_with_a_new_password_that_is_wrong_too(self, password_postgres, deployed, backend):
        password_postgres.rotate("second")
        deployed.put("third")
        failures = counting("app_db_connect_failures")

        with pytest.raises(OperationalError, match="password authentication failed"):
            backend().ensure_connection()
        assert failures() == {"authentication": 2}

    @pytest.mark.parametrize("broken", ["an outage", "not a URL", "no URL"])
    def test_tells_the_databases_reason_when_the_secret_is_of_no_help(
        self, password_postgres, deployed, backend, caplog, broken
    ):
        password_postgres.rotate("canary")
        deployed.put_url({"not a URL": "canary", "no URL": ""}.get(broken, password_postgres.url("canary")))
        if broken == "an outage":
            deployed.outage()

        with pytest.raises(OperationalError, match="password authentication failed"):
            backend().ensure_connection()
        assert "canary" not in caplog.text

    def test_reads_nothing_again_where_the_password_came_from_the_environment(
        self, password_postgres, deployed, backend, monkeypatch, readings
    ):
        monkeypatch.setenv("DATABASE_URL", password_postgres.url("first"))
        password_postgres.rotate("second")
        deployed.put("second")

        with pytest.raises(OperationalError, match="password authentication failed"):
            backend().ensure_connection()
        assert readings == []

    def test_reads_nothing_again_where_no_hook_is_set(self, password_postgres, deployed, backend, settings, readings):
        del settings.DATABASE_CREDENTIALS_HOOK
        password_postgres.rotate("second")
        deployed.put("second")

        with pytest.raises(OperationalError, match="password authentication failed"):
            backend().ensure_connection()
        assert readings == []

    def test_calls_the_function_that_the_setting_names(self, password_postgres, deployed, backend, settings, readings):
        settings.DATABASE_CREDENTIALS_HOOK = f"{__name__}.own_hook"
        password_postgres.rotate("DATABASE_URL")
        HOOK["url"] = password_postgres.url

        assert current_user(backend()) == "web"
        assert readings == []

    def test_reads_nothing_again_when_the_server_is_gone(self, deployed, backend, readings):
        with pytest.raises(OperationalError, match="refused"):
            backend(PORT=9).ensure_connection()
        assert readings == []


def test_what_a_refused_password_carries(password_postgres):
    """There is no SQLSTATE, and the text is in the server's language; libpq records whether it sent a password."""
    password_postgres.rotate("first")
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(password_postgres.url("wrong"))
    with pytest.raises(psycopg.OperationalError) as unreachable:
        psycopg.connect("postgres://web:first@127.0.0.1:9/web")

    assert refused.value.sqlstate is None
    assert password_was_sent(refused.value)
    assert not password_was_sent(unreachable.value)
    assert not password_was_sent(psycopg.OperationalError("timeout"))


class LoadClient(threading.Thread):
    """Request a page that queries the database, over and over, and keep each unexpected response."""

    def __init__(self, address: tuple[str, int], stop: threading.Event) -> None:
        super().__init__()
        self._address, self._stop_asking = address, stop
        self.answers: Counter[int | str] = Counter()
        # The longest row of failures: a client that tries again has that many in vain.
        self.failures_in_a_row, self._row = 0, 0
        self.slowest_s = 0.0

    def run(self) -> None:
        while not self._stop_asking.is_set():
            start = time.monotonic()
            answer = ask(self._address)
            self.slowest_s = max(self.slowest_s, time.monotonic() - start)
            self.answers[answer] += 1
            # 401: the database was asked and does not know the token.
            self._row = 0 if answer == 401 else self._row + 1
            self.failures_in_a_row = max(self.failures_in_a_row, self._row)
            time.sleep(0.005)


def ask(address: tuple[str, int], host: str = HOST, path: str = "/api/v1/users/me/") -> int | str:
    connection = http.client.HTTPConnection(*address, timeout=HANG_S)
    headers = {"Host": host, "X-Forwarded-Proto": "https", "Authorization": "Token " + "0" * 40}
    with contextlib.closing(connection):
        try:
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__


@pytest.fixture(scope="module")
def migrated(password_postgres, moto) -> dict[str, str]:
    """Create the tables, and return an environment of production whose database is named in the secret alone."""
    given = aws.environment(moto.url) | {
        "APP_SECRETS_ID": "app/live",
        "DJANGO_SETTINGS_MODULE": "config.settings.production",
        "DATABASE_URL": "",
        # In Docker there is one, and with it a limit of requests.
        "REDIS_URL": "",
        # A proxy says that it was HTTPS, and nobody waits for a load balancer.
        "NUM_PROXIES": "1",
        "DRAIN_SECONDS": "0",
    }
    prepare(password_postgres, moto)
    migrate = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--noinput"],
        cwd=ROOT,
        env=os.environ | given,  # noqa: TID251  the child's is ours with some changed
        capture_output=True,
        text=True,
        check=False,
    )
    assert migrate.returncode == 0, migrate.stderr
    return given


def prepare(password_postgres: PasswordPostgres, moto: aws.Moto) -> None:
    password_postgres.rotate("first")
    moto.put("app/live", secret_for(password_postgres.url("first")))


@pytest.fixture
def live(password_postgres, moto, migrated, tmp_path) -> Iterator[Server]:
    """Gunicorn on production's settings."""
    prepare(password_postgres, moto)
    with Server("", tmp_path / "log", workers=2, threads=3, **migrated) as server:
        yield server


@pytest.mark.slow
def test_a_rotation_under_load_fails_no_request_for_longer_than_one_retry(live, password_postgres, moto):
    stop = threading.Event()
    clients = [LoadClient(live.address, stop) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        for password in ("second", "third", "fourth"):
            time.sleep(1.5)
            password_postgres.rotate(password)
            moto.put("app/live", secret_for(password_postgres.url(password)))
            assert password_postgres.end_idle_connections() > 0
        time.sleep(1.5)
        eventually(lambda: sum(client.answers[401] for client in clients) > 200)
    finally:
        stop.set()
        for client in clients:
            client.join()

    answers = sum((client.answers for client in clients), Counter())
    slowest_s = max(client.slowest_s for client in clients)
    print(f"answers: {dict(answers)}; slowest {slowest_s:.2f} s")
    assert max(client.failures_in_a_row for client in clients) <= 1
    assert live.log.read_text().count("The database password was read again") >= 3
    assert not [password for password in ("second", "third", "fourth") if password in live.log.read_text()]


@pytest.mark.slow
def test_a_reload_takes_the_new_secret_and_keeps_the_old_one_if_the_new_is_no_good(live, password_postgres, moto):
    def reload_and_ask(host: str, expected: int) -> None:
        time.sleep(secrets.PAUSE_S)
        before = set(live.workers())
        live.reload()
        eventually(
            lambda: not before & set(live.workers()) and ask(live.address, host) == expected,
            lambda: live.log.read_text()[-4000:],
        )

    assert ask(live.address, "new.example.org") == 400
    moto.put("app/live", secret_for(password_postgres.url("first")) | {"ALLOWED_HOSTS": "new.example.org"})
    reload_and_ask("new.example.org", 401)
    assert ask(live.address, HOST) == 400

    moto.put("app/live", secret_for(password_postgres.url("first")) | {"ALLOWED_HOSTS": "*"})
    reload_and_ask("new.example.org", 401)
    assert "The server goes on with the secret it has." in live.log.read_text()


@pytest.mark.slow
def test_a_server_opens_as_many_connections_as_the_rule_counts(live, password_postgres):
    values = {"WEB_CONCURRENCY": "2", "GUNICORN_THREADS": "3", "DATABASE_RESERVED_CONNECTIONS": "0"}
    for available, words in [(8, ""), (7, "do not fit")]:
        env = environment.Environment("test", values | {"DATABASE_MAX_CONNECTIONS": str(available)}, {})
        assert connections_fit(env).startswith(words)
    stop = threading.Event()
    clients = [LoadClient(live.address, stop) for _ in range(12)]
    most = 0
    for client in clients:
        client.start()
    try:
        deadline = time.monotonic() + HANG_S
        while time.monotonic() < deadline and most < 8:
            ask(live.address, path="/readyz/")
            row = password_postgres.owner.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = 'web'"
            ).fetchone()
            most = max(most, row[0])
    finally:
        stop.set()
        for client in clients:
            client.join()

    # Each worker: three threads and the probes' one.
    assert most == 8
