"""Middlewares of pages: a page passes all of them, a request of the API none."""

import pytest
from django.conf import settings
from django.test import Client
from django.utils.module_loading import import_string

from apps.core.middleware.pages import BeginPagesMiddleware, EndPagesMiddleware
from tests.factories import token_of
from tests.support.responses import ME

pytestmark = pytest.mark.django_db

NAMES = [f"{each.__module__}.{each.__qualname__}" for each in (BeginPagesMiddleware, EndPagesMiddleware)]
BEGIN, END = map(settings.MIDDLEWARE.index, NAMES)
OF_PAGES = settings.MIDDLEWARE[BEGIN + 1 : END]


@pytest.fixture
def passed(monkeypatch) -> list[str]:
    """The middlewares of pages that requests have passed."""
    passed = []

    def note(name: str, middleware: type) -> None:
        call = middleware.__call__

        def noted(self, request):
            # SecurityHeadersMiddleware is one of Django's SecurityMiddleware, too.
            if type(self) is middleware:
                passed.append(name)
            return call(self, request)

        monkeypatch.setattr(middleware, "__call__", noted)

    for name in OF_PAGES:
        note(name, import_string(name))
    return passed


@pytest.mark.parametrize("path", [ME, "/api/", "/api/v1/none/"])
def test_a_request_of_the_api_passes_none(passed, user, path):
    response = Client(headers={"Authorization": f"Token {token_of(user)}"}).get(path)

    assert response.status_code == (200 if path == ME else 404)
    assert passed == []
    assert int(response.headers["Content-Length"]) == len(response.content)


@pytest.mark.parametrize("path", ["/admin/login/", "/schema/", "/schema/swagger-ui/", "/none/", "/api"])
def test_a_page_passes_all(passed, path):
    Client().get(path)

    assert passed == OF_PAGES
    assert "django.middleware.csrf.CsrfViewMiddleware" in passed
