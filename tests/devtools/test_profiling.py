"""django-silk: with SILK=true it records bounded requests without secrets; without it, it is not imported."""

import json

import pytest
from django.db import connection

from tests.support.configuration import FULL
from tests.support.databases import database_url
from tests.support.local_project import SHORTENED_TO
from tests.support.processes import run

pytestmark = pytest.mark.slow

NAME = "profiled"


@pytest.fixture(scope="module")
def laptop(django_db_setup, django_db_blocker):
    """A new database, and a way to do business in it with local settings."""
    name = f"{NAME}_{connection.settings_dict['NAME']}"
    url = database_url().rsplit("/", 1)[0] + f"/{name}"

    def do_business(**given):
        result = run("-m", "tests.support.local_project", settings="local", DATABASE_URL=url, **given)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout.splitlines()[-1])

    with django_db_blocker.unblock(), connection._nodb_cursor() as cursor:
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        cursor.execute(f'CREATE DATABASE "{name}"')
    yield do_business
    with django_db_blocker.unblock(), connection._nodb_cursor() as cursor:
        cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="module")
def on(laptop):
    return laptop(SILK="true")


class TestOn:
    def test_shows_each_request_with_its_statements_also_those_that_are_not_the_orms(self, on):
        assert (on["statuses"], on["known"], on["page"]) == ([201, 200, 204], True, 200)
        assert {"/api/v1/users/", "/api/token/", "/api/v1/users/me/"} <= on["requests"].keys()
        assert on["requests"]["/api/v1/users/me/password/"] > 1
        # The upsert that counts failures, in SQL of our own.
        assert any("ON CONFLICT" in statement for statement in on["statements"])

    def test_is_not_shown_what_postgresql_cannot_keep(self, on):
        assert on["with a NUL"] == [404, 404, 404, 404, 400]

    def test_keeps_no_body_no_token_and_no_value(self, on):
        assert on["rows"].count("silk.request") >= len(on["statuses"])
        assert [secret for secret in on["secrets"] if secret in on["rows"]] == []

    def test_keeps_the_newest_thousand_requests(self, on):
        assert on["limits"]["SILKY_MAX_RECORDED_REQUESTS"] == 1000
        assert 0 < on["kept"] <= SHORTENED_TO


def test_off_again_the_application_works_beside_silks_tables(on, laptop):
    off = laptop(SILK="false")

    assert (off["statuses"], off["known"]) == (on["statuses"], True)
    assert (off["page"], off["imported"]) == (404, False)


def test_production_does_not_know_it():
    code = "import django, sys; django.setup(); from django.urls import get_resolver; print('silk' in sys.modules)"
    code += "; print(any('silk' in str(each.pattern) for each in get_resolver().url_patterns))"

    result = run("-c", code, **FULL | {"SILK": "true"})

    assert (result.returncode, result.stdout.split()) == (0, ["False", "False"]), result.stderr
