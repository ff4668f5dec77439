"""Fixtures of the live tests: a server on the test database, and a token. Each folder of live tests imports them."""

from collections.abc import Iterator

import pytest

from apps.users.models import User
from tests.factories import token_of
from tests.support.databases import database_url
from tests.support.server import Server


@pytest.fixture(scope="module")
def server(django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[Server]:
    """Three workers with 34 threads each: a hundred requests are in the database at once."""
    log = tmp_path_factory.mktemp("gunicorn") / "log"
    with django_db_blocker.unblock():
        url = database_url()
    with Server(url, log, workers=3, threads=34) as server:
        yield server
    assert server.complaints() == []


@pytest.fixture
def token(user: User) -> str:
    return token_of(user)
