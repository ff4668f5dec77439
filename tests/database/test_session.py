"""Session settings hold, whatever the defaults of the database, the role and the environment are."""

import json
import uuid

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection
from rest_framework.test import APIClient

from apps.users.models import Token
from config import product
from tests.support.configuration import FULL
from tests.support.password_postgres import APP_ROLE, NAME, OWNER, connected
from tests.support.processes import run

# Each would change what the server says or does.
SOMEBODY_ELSES = {
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "iso_8601",
    "TimeZone": "America/St_Johns",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "extra_float_digits": "-15",
    "client_encoding": "SQL_ASCII",
    "search_path": "",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "lock_timeout": "1h",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "lc_messages": "de_DE.UTF-8",
    "lc_numeric": "de_DE.UTF-8",
    "xmloption": "document",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "backslash_quote": "on",
    "escape_string_warning": "off",
}
RELIED_ON = {
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "client_encoding": "UTF8",
    "search_path": "public",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "lock_timeout": "2s",
    "statement_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
    "application_name": product.NAME,
}


def refused_here(error: psycopg.Error) -> bool:
    """Tell whether this server has no such setting, or no such locale: another one may."""
    return isinstance(error, psycopg.errors.UndefinedObject | psycopg.errors.InvalidParameterValue)


@pytest.fixture(params=["DATABASE", "ROLE"])
def foreign_defaults(request, two_role_database):
    """Give the database, or both roles, unusual defaults."""
    targets = [f"DATABASE {NAME}"] if request.param == "DATABASE" else [f"ROLE {OWNER}", f"ROLE {APP_ROLE}"]
    for target in targets:
        for name, value in SOMEBODY_ELSES.items():
            try:
                two_role_database.password_postgres.owner.execute(f"ALTER {target} SET {name} = '{value}'")
            except psycopg.Error as error:
                if not refused_here(error):
                    raise
    yield
    for target in targets:
        two_role_database.password_postgres.owner.execute(f"ALTER {target} RESET ALL")


def settings_of_the_session() -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)", [[*RELIED_ON]])
        return dict(cursor.fetchall())


def use() -> None:
    """Sign up, log in, write and read a row, and verify all that the apps check."""
    client = APIClient()

    def send(status, method, path, body=None):
        response = getattr(client, method)(f"/api{path}", body, headers={"idempotency-key": uuid.uuid4().hex})
        assert response.status_code == status, response.content
        return response.json()

    names = {"username": f"u{uuid.uuid4().hex}", "password": "correct horse battery staple"}
    send(201, "post", "/v1/users/", names)
    client.credentials(HTTP_AUTHORIZATION=f"Token {send(200, 'post', '/token/', names)['token']}")
    expires_at = send(200, "post", "/token/", names)["expires_at"]
    assert Token.objects.filter(user__username=names["username"], expires_at=expires_at).exists()
    text = rf"C:\new\' \x41 é {uuid.uuid4()}"
    assert Group.objects.get(pk=Group.objects.create(name=text).pk).name == text
    call_command("housekeeping", "--verify")


class TestDefaultsOfTheDatabase:
    def test_do_not_reach_what_serves(self, two_role_database, foreign_defaults, as_app_role):
        assert settings_of_the_session() == RELIED_ON
        use()

    def test_do_not_reach_what_migrates(self, two_role_database, foreign_defaults, migrates_as_owner):
        call_command("migrate", verbosity=0)

        with connected(two_role_database.owner_url):
            assert settings_of_the_session() == RELIED_ON
            call_command("migrate", "--check", verbosity=0)

    def test_are_set_aside_unless_the_url_names_a_schema(self, two_role_database, as_app_role):
        with connected(
            f"{two_role_database.app_role_url}?options=-c%20search_path%3Dpg_catalog,public%20-c%20DateStyle%3DGerman"
        ):
            assert settings_of_the_session() == RELIED_ON | {"search_path": "pg_catalog,public"}


VARIABLES = {
    "PGDATESTYLE": "SQL, DMY",
    "PGTZ": "America/St_Johns",
    "PGGEQO": "perhaps",
    "PGOPTIONS": "-c search_path=nowhere -c nonsense=1",
    "PGCLIENTENCODING": "LATIN1",
    "PGAPPNAME": "somebody else's",
    "PGCONNECT_TIMEOUT": "soon",
    "PGUSER": "nobody",
    "PGPASSWORD": "wrong",
    "PGDATABASE": "nothing",
    "PGHOST": "nowhere.invalid",
    "PGPORT": "1",
}


@pytest.mark.slow
def test_variables_of_libpq_do_not_reach_a_session_that_the_url_describes(two_role_database):
    code = (
        "import django, json; django.setup()\n"
        "from django.db import connection\n"
        "with connection.cursor() as cursor:\n"
        f"    cursor.execute('SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)', [{[*RELIED_ON]}])\n"
        "    print(json.dumps(dict(cursor.fetchall())))\n"
    )

    result = run("-c", code, **FULL | {"DATABASE_URL": two_role_database.app_role_url} | VARIABLES)

    assert result.stderr == ""
    assert json.loads(result.stdout) == RELIED_ON
