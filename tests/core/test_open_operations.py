"""Operations that need no token ignore the Authorization header: its value does not change the response."""

import re

import pytest
import yaml
from django.test import Client
from django.utils import timezone
from rest_framework.permissions import AllowAny

from apps.users.models import Token, User
from tests.factories import UserFactory, token_of
from tests.support.endpoints import ENDPOINTS, ApiWorld
from tests.support.paths import OPENAPI_DOCUMENT
from tests.support.problems import assert_problem
from tests.support.urls import API

pytestmark = pytest.mark.django_db

OPERATIONS = {
    (method.upper(), path): operation
    for path, methods in yaml.safe_load(OPENAPI_DOCUMENT.read_text())["paths"].items()
    for method, operation in methods.items()
}
OPEN = sorted(key for key, operation in OPERATIONS.items() if {} in operation.get("security", [{}]))
PAGES = ["/schema/", "/schema/swagger-ui/"]
DEAD = ("expired", "revoked", "deactivated")
MALFORMED = [
    "",
    " ",
    "Token",
    "Token ",
    "Token a b",
    "Token \xff",
    "Token tok_forged",
    "token x",
    "Bearer x",
    "Bearer",
    "Basic !",
    "Basic YWRhOng=",
    "\x7f",
    "Token " + "x" * 4000,
]


@pytest.fixture(scope="module")
def world(for_all) -> ApiWorld:
    return for_all(ApiWorld)


@pytest.fixture
def headers() -> dict[str, str]:
    """Every kind of Authorization header, good, stale and malformed; those that are good or stale by their kind."""
    users = {kind: UserFactory() for kind in ("good", *DEAD)}
    tokens = {kind: f"Token {token_of(user)}" for kind, user in users.items()}
    Token.objects.filter(user=users["expired"]).update(expires_at=timezone.now())
    Token.objects.filter(user=users["revoked"]).delete()
    User.objects.filter(pk=users["deactivated"].pk).update(is_active=False)
    return tokens | {text: text for text in MALFORMED}


def body(world: ApiWorld, method: str, path: str) -> bytes:
    names = (name for name, endpoint in ENDPOINTS.items() if method == "POST" and endpoint.path == path)
    name = next(names, None)
    return world.body(name) if name else b""


def outcome(response) -> tuple[int, str, dict[str, str]]:
    changing = {"X-Request-ID", "Content-Length"}
    return response.status_code, response.headers["Content-Type"], response.headers.keys() - changing


def test_are_those_that_were_meant_to_be():
    assert OPEN == [("POST", "/api/token/"), ("POST", "/api/v1/users/")]


@pytest.mark.parametrize(("method", "path"), OPEN, ids=[" ".join(each) for each in OPEN])
def test_ignore_any_authorization(world, headers, method, path):
    accepted = {int(status) for status in OPERATIONS[method, path]["responses"]}
    for number, (kind, header) in enumerate(headers.items()):
        # A second sign-up under one name would be refused.
        sent = body(world, method, path).replace(b'"eve"', f'"eve-{number}"'.encode())

        answer = world.send(method, path, sent, who=None, HTTP_AUTHORIZATION=header)

        assert answer.status_code in accepted, kind
        assert answer.status_code < 300, kind
        assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize(("method", "path"), OPEN, ids=[" ".join(each) for each in OPEN])
def test_refuse_what_they_refuse_without_it(world, headers, method, path):
    for sent in (b"", b"{", b"{}", b'{"username": "nobody", "password": "wrong", "x": 1}'):
        without = world.send(method, path, sent, who=None)
        for kind, header in headers.items():
            answer = world.send(method, path, sent, who=None, HTTP_AUTHORIZATION=header)

            assert outcome(answer) == outcome(without), kind
            assert answer.json()["code"] == without.json()["code"]


@pytest.mark.parametrize("path", PAGES)
def test_pages_do_so_too(headers, path):
    assert {Client().get(path, headers={"Authorization": header}).status_code for header in headers.values()} == {200}


def test_all_others_still_ask_for_one(world, headers):
    stale = [header for kind, header in headers.items() if kind != "good"]
    closed = sorted(OPERATIONS.keys() - set(OPEN))
    assert ("DELETE", "/api/token/") in closed
    for method, path in closed:
        somewhere = re.sub(r"\{.*?\}", "018f0000-0000-7000-8000-000000000000", path)
        for header in stale:
            answer = world.send(method, somewhere, b"", who=None, HTTP_AUTHORIZATION=header)
            assert_problem(answer, 401, "not_authenticated")


def test_no_view_authenticates_where_anybody_may():
    """A view open by its permission authenticates nobody, whatever its schema declares; new apps are included."""
    for name, pattern in API.items():
        for method in pattern.callback.cls.http_method_names:
            view = pattern.callback.cls(**pattern.callback.initkwargs)
            view.setup(type("Request", (), {"method": method.upper()})())
            is_open = any(isinstance(permission, AllowAny) for permission in view.get_permissions())
            assert bool(view.get_authenticators()) is not is_open, (method, name)


def test_count_the_address_and_not_the_user(limit, clock, user, headers):
    limit(user=1, anonymous=3)
    login = {"username": "nobody", "password": "wrong"}
    address = "203.0.113.9"

    told = [
        Client().post("/api/token/", login, REMOTE_ADDR=address, headers={"Authorization": header}).status_code
        for header in (headers["good"], headers["good"], headers["expired"], headers["good"], "Token a b")
    ]

    assert told == [400, 400, 400, 429, 429]
    # And nothing of it is the user's.
    good = {"Authorization": headers["good"]}
    assert [Client().get("/api/v1/users/me/", headers=good).status_code for _ in range(2)] == [200, 429]
