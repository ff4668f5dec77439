"""Fixtures of the live tests: servers on the test database, and a token. Each folder of live tests imports them."""

from collections.abc import Iterator

import pytest

from apps.users.models import User
from tests.factories import token_of
from tests.support.databases import database_url
from tests.support.server import Server


def serve(django_db_blocker, tmp_path_factory, **environment: str) -> Iterator[Server]:
    """Three workers with 34 threads each: a hundred requests are in the database at once."""
    log = tmp_path_factory.mktemp("gunicorn") / "log"
    with django_db_blocker.unblock():
        url = database_url()
    with Server(url, log, workers=3, threads=34, **environment) as server:
        yield server
    assert server.complaints() == []


@pytest.fixture(scope="module")
def server(django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[Server]:
    """The product."""
    yield from serve(django_db_blocker, tmp_path_factory)


@pytest.fixture(scope="module")
def notes_server(django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[Server]:
    """The product, and the tests' own notes."""
    yield from serve(django_db_blocker, tmp_path_factory, DJANGO_SETTINGS_MODULE="tests.notes.test")


@pytest.fixture
def token(user: User) -> str:
    return token_of(user)
