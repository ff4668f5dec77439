"""A live server on the test database, and a customer of it."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from django.db import connection

from tests.live.server import Server


def database_url() -> str:
    """Return the URL of the database that the tests are using now."""
    of = connection.settings_dict
    user = f"{quote(of['USER'])}:{quote(of['PASSWORD'])}" if of["PASSWORD"] else quote(of["USER"])
    if of["HOST"].startswith("/"):
        return f"postgres://{user}@/{quote(of['HOST'])}/{of['NAME']}"
    return f"postgres://{user}@{of['HOST']}:{of['PORT'] or 5432}/{of['NAME']}"


@pytest.fixture(scope="module")
def server(django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[Server]:
    """Three workers with 34 threads each: a hundred requests are in the database at once."""
    log = tmp_path_factory.mktemp("gunicorn") / "log"
    with django_db_blocker.unblock():
        url = database_url()
    with Server(url, log, workers=3, threads=34) as server:
        yield server
    assert server.complaints() == []
