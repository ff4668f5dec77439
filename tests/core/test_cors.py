"""CORS: pages of the configured origins may call the API and read every response, errors too; no others may."""

import json

import pytest
from django.test import Client

from tests.factories import token_of
from tests.support.configuration import FULL
from tests.support.processes import run
from tests.support.responses import ANSWERS, ME, USERS

pytestmark = pytest.mark.django_db

ORIGIN = "https://app.example.org"
CORS = "corsheaders.middleware.CorsMiddleware"
GUARD = "apps.core.middleware.request_validation.RequestValidationMiddleware"
EXPOSED = {"etag", "location", "retry-after", "idempotent-replayed", "x-request-id"}
# What answers them is before the API, and says nothing that a page would have to read.
NOT_OF_THE_API = {
    "unknown_url", "unknown_url_while_debugging", "unknown_static_file", "other_method_at_a_probe", "alive", "ready", "ping",
    "ping_without_a_database", "document",
}  # fmt: skip  # a table: many short values to a line
OF_THE_API = [name for name in ANSWERS if name not in NOT_OF_THE_API]


@pytest.fixture
def _named(settings):
    """As config.settings.base has it, where CORS_ALLOWED_ORIGINS names an origin."""
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]
    at = settings.MIDDLEWARE.index(GUARD)
    settings.MIDDLEWARE = [*settings.MIDDLEWARE[:at], CORS, *settings.MIDDLEWARE[at:]]


@pytest.fixture
def page(user, _named, settings) -> Client:
    """A page on the named origin, with a token, over HTTPS."""
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    headers = {"Authorization": f"Token {token_of(user)}", "X-Forwarded-Proto": "https", "Origin": ORIGIN}
    return Client(headers=headers, raise_request_exception=False)


def words(response, header: str) -> set[str]:
    return {word.strip().lower() for word in response.headers.get(header, "").split(",") if word.strip()}


def preflight(client: Client, path: str = USERS, method: str = "POST", **headers: str):
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization,idempotency-key"}
    return client.options(path, headers={"Origin": ORIGIN} | asked | headers)


@pytest.mark.parametrize("kind", OF_THE_API)
def test_a_page_reads_every_answer(page, monkeypatch, kind):
    status, response = ANSWERS[kind](page, monkeypatch)

    assert response.status_code == status
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert words(response, "Access-Control-Expose-Headers") == EXPOSED
    assert "origin" in words(response, "Vary")
    assert "Access-Control-Allow-Credentials" not in response.headers


def test_a_page_reads_that_plain_http_is_refused(page, settings):
    settings.SECURE_SSL_REDIRECT = True
    response = page.get(ME, headers={"X-Forwarded-Proto": "http"})

    assert (response.status_code, response.json()["code"]) == (403, "https_required")
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.parametrize("path", ["/api/nowhere", "/api/v1/users/%00/", "/api/v1/users/?x=%00"])
def test_a_page_reads_what_no_view_has_answered(page, path):
    assert page.get(path).headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.usefixtures("_named")
@pytest.mark.parametrize("path", [USERS, "/api/token/", "/api/nowhere"])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE", "PUT"])
def test_a_preflight_says_what_is_allowed_and_needs_no_token(path, method):
    response = preflight(Client(), path, method)

    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert words(response, "Access-Control-Allow-Methods") == {"get", "post", "patch", "delete"}
    assert words(response, "Access-Control-Allow-Headers") == {
        "accept", "authorization", "content-type", "idempotency-key", "if-match", "if-none-match", "min-version",
        "x-request-id",
    }  # fmt: skip  # a table: many short values to a line
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert "origin" in words(response, "Vary")
    assert response.headers["X-Request-ID"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example", "http://app.example.org", "https://app.example.org:8443", "https://app.example.org.evil.example",
        "https://xapp.example.org", "https://sub.app.example.org", "null", "*", "", "https://[", "https://app.example.org/",
        "https://APP.example.org",
    ],
)  # fmt: skip  # a table: many short values to a line
def test_another_origin_is_allowed_nothing(page, origin):
    for response in (page.get(ME, headers={"Origin": origin}), preflight(page, Origin=origin)):
        # A slash at the end no browser sends: what comes back fits none.
        expected = origin if origin == f"{ORIGIN}/" else None
        assert response.headers.get("Access-Control-Allow-Origin") == expected
        assert "origin" in words(response, "Vary")


@pytest.mark.parametrize(
    "path", ["/livez/", "/schema/", "/admin/login/", "/nowhere", "/static/admin/css/base.css", "/apix"]
)
def test_what_is_not_the_api_is_for_no_page(page, path):
    response = page.get(path)
    response.close()

    assert not [name for name in response.headers if name.startswith("Access-Control-")]
    assert "origin" not in words(response, "Vary")


def test_options_that_are_no_preflight_are_refused_as_ever(page):
    response = page.options(ME)

    assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (405, ORIGIN)


def test_where_no_origin_is_named_nothing_is_said(client, settings):
    assert CORS not in settings.MIDDLEWARE
    for response in (client.get(ME, headers={"Origin": ORIGIN}), preflight(Client())):
        assert not [name for name in response.headers if name.startswith("Access-Control-")]
        assert "origin" not in words(response, "Vary")
    assert preflight(Client()).status_code == 405


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings_name", "origins", "expected"),
    [
        ("production", "", [False, False, []]),
        ("production", ORIGIN, [True, False, [ORIGIN]]),
        ("local", "*", [True, True, []]),
        ("test", ORIGIN, [False, False, []]),
    ],
)
def test_the_middleware_is_there_where_origins_are_named(settings_name, origins, expected):
    code = (
        "import json; from django.conf import settings as s; names = s.MIDDLEWARE; "
        f"is_there = {CORS!r} in names and names.index({CORS!r}) == names.index({GUARD!r}) - 1; "
        "print(json.dumps([is_there, s.CORS_ALLOW_ALL_ORIGINS, s.CORS_ALLOWED_ORIGINS]))"
    )
    given = {name: value for name, value in FULL.items() if name != "DJANGO_SETTINGS_MODULE"}

    result = run("-c", code, settings=settings_name, **given | {"CORS_ALLOWED_ORIGINS": origins})

    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == expected
