"""Fixtures of several folders: AWS, a PostgreSQL with passwords, and the two roles of a deployment."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.db import connection

from apps.core.observability.redaction import TOKEN_PREFIX
from apps.database.postgresql import base
from config import secrets_manager as secrets
from config.settings.base import database
from tests.factories import PASSWORD
from tests.support.aws import Moto
from tests.support.configuration import FULL
from tests.support.password_postgres import APP_ROLE, PasswordPostgres, TwoRoleDatabase, connected
from tests.support.patience import HANG_S
from tests.support.processes import run

# The loggers of the audit log.
EVENTS = ("apps.users.audit_log", "apps.core.problem")


@pytest.fixture
def _all_the_time(monkeypatch) -> Iterator[None]:
    """A hundred at once take as long as the machine lets them, to connect and to wait for each other."""
    connection.close()
    options = connection.settings_dict["OPTIONS"]
    limits = "-c lock_timeout=0 -c statement_timeout=0"
    monkeypatch.setitem(
        connection.settings_dict, "OPTIONS", options | {"connect_timeout": int(HANG_S), "options": limits}
    )
    monkeypatch.setattr(base.TimeoutConnection, "response_timeout_s", None)
    yield
    connection.close()


@pytest.fixture(scope="session")
def moto(tmp_path_factory) -> Iterator[Moto]:
    with Moto(tmp_path_factory.mktemp("moto") / "log") as moto:
        yield moto


@pytest.fixture(scope="session")
def password_postgres(tmp_path_factory) -> Iterator[PasswordPostgres]:
    with PasswordPostgres(tmp_path_factory.mktemp("postgres")) as password_postgres:
        yield password_postgres


@pytest.fixture(scope="session")
def two_role_database(password_postgres) -> Iterator[TwoRoleDatabase]:
    """Migrated as a deployment does, with production's settings and both URLs; and by two tasks at once."""
    two_role_database = TwoRoleDatabase(password_postgres)
    given = FULL | {
        "DATABASE_URL": two_role_database.app_role_url,
        "MIGRATION_DATABASE_URL": two_role_database.owner_url,
    }
    with ThreadPoolExecutor(2) as pool:
        tasks = list(pool.map(lambda _: run("manage.py", "migrate", "--noinput", **given), range(2)))
    assert [task.returncode for task in tasks] == [0, 0], [task.stderr for task in tasks]
    assert sorted("No migrations to apply" in task.stdout for task in tasks) == [False, True]
    for task in tasks:
        assert task.stdout.endswith(f"Granted the application's privileges to the role {APP_ROLE}.\n")
    # The suite's settings have an app of the tests' own, which a deployment lacks.
    test = {"DJANGO_SETTINGS_MODULE": "tests.settings.test", "TEST_DATABASE_URL": two_role_database.owner_url}
    notes = run("manage.py", "migrate", "notes", "--noinput", **test)
    assert notes.returncode == 0, notes.stderr
    yield two_role_database
    two_role_database.remove()


@pytest.fixture(scope="module")
def app_role_connection(two_role_database) -> Iterator[psycopg.Connection]:
    """A connection of its own as the role that serves, beside Django's."""
    with two_role_database.as_app_role() as connection:
        yield connection


@pytest.fixture
def as_app_role(two_role_database, django_db_blocker) -> Iterator[None]:
    """Let Django connect to the two-role database as the role that serves."""
    with django_db_blocker.unblock(), connected(two_role_database.app_role_url):
        yield


@pytest.fixture
def migrates_as_owner(as_app_role, two_role_database, settings) -> None:
    settings.MIGRATION_DATABASE = database(two_role_database.owner_url, key="MIGRATION_DATABASE_URL")


@pytest.fixture
def _no_secret_held(monkeypatch):
    """Forget the secret that the process holds, before and after; an answer may take as long as a busy machine needs."""
    for name in ("BOOT_DEADLINE_S", "SERVING_DEADLINE_S", "CONNECT_TIMEOUT_S", "READ_TIMEOUT_S"):
        monkeypatch.setattr(secrets, name, HANG_S)
    monkeypatch.setattr(secrets.fetch, "__defaults__", (HANG_S,))
    secrets.set_cached(None)
    yield
    secrets.set_cached(None)


@pytest.fixture
def new_lines(caplog, user, staff):
    """Return a function that returns the lines since its last call, as level, event and user."""
    caplog.set_level(logging.INFO)

    def since() -> list[tuple[str, str, str | None]]:
        records = [record for record in caplog.records if record.name in EVENTS]
        for record in records:
            text = f"{vars(record)}"
            assert not [typed for typed in (user.username, staff.username, PASSWORD, TOKEN_PREFIX) if typed in text]
        caplog.clear()
        return [
            (record.levelname, record.getMessage(), str(record.user_id) if record.user_id else None)
            for record in records
        ]

    return since
