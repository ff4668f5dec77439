"""URLs of the admin and the API documentation by ADMIN_PATH and DOCS_OPEN."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.test import Client, override_settings
from django.urls import clear_url_caches

from config import urls
from tests.factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def served() -> Iterator[Callable[..., Client]]:
    """Return a function that serves the URLs of the settings it is given."""

    def mount() -> None:
        importlib.reload(urls)
        clear_url_caches()

    with ExitStack() as changed:
        changed.callback(mount)

        def serve(**settings: Any) -> Client:
            changed.enter_context(override_settings(**settings))
            mount()
            return Client(headers={"X-Forwarded-Proto": "https"})

        yield serve


def test_the_admin_is_where_its_key_says_and_nowhere_else(served):
    client = served(ADMIN_PATH="back-office/door-7/")

    there = client.get("/back-office/door-7/")
    assert there.status_code == 302
    assert there.headers["Location"].startswith("/back-office/door-7/login/")
    assert client.get("/admin/").json()["code"] == "not_found"
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    assert client.get("/back-office/door-7/users/user/").status_code == 200


def test_without_their_keys_there_are_neither_docs_nor_admin(served):
    client = served(ADMIN_PATH="", DOCS_OPEN=False)

    for path in ("/admin/", "/", "/login/", "/users/user/", "/schema/", "/schema/swagger-ui/"):
        assert client.get(path).json()["code"] == "not_found"


def test_the_admins_cookies_are_for_https_and_this_host_only(served):
    names = {"SESSION_COOKIE_NAME": "__Host-sessionid", "CSRF_COOKIE_NAME": "__Host-csrftoken"}
    client = served(SESSION_COOKIE_SECURE=True, CSRF_COOKIE_SECURE=True, **names)
    staff = UserFactory(is_staff=True, is_superuser=True)

    client.post("/admin/login/?next=/admin/", {"username": staff.username, "password": PASSWORD})

    assert set(client.cookies) == set(names.values())
    for cookie in client.cookies.values():
        assert (cookie["path"], cookie["domain"], cookie["secure"], cookie["samesite"]) == ("/", "", True, "Lax")
        assert cookie["httponly"]
