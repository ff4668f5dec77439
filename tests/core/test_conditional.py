"""Conditional requests of RFC 9110 §13, and request headers for features that an operation does not offer."""

import itertools
from typing import Any

import pytest

from apps.users.models import User
from tests.notes.models import Note
from tests.support.endpoints import ENDPOINTS, OPERATIONS, ApiWorld, rows
from tests.support.problems import assert_problem

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.notes.urls")]

NOTE = "/api/v1/notes/{note}/"
PAST, FUTURE = "Sat, 29 Oct 1994 19:43:31 GMT", "Fri, 29 Oct 2094 19:43:31 GMT"


class NotesWorld(ApiWorld):
    """Ada has a note, too."""

    def __init__(self) -> None:
        super().__init__()
        note = Note.objects.create(owner=User.objects.get(username="ada"), text="hello")
        self.names["note"] = str(note.pk)

    def rename(self, body: bytes = b'{"text": "Holiday"}', **changes: Any):
        return self.send("PATCH", NOTE, body, **changes)


@pytest.fixture(scope="module")
def world(for_all) -> NotesWorld:
    return for_all(NotesWorld)


def get(world: ApiWorld, method: str = "GET", **conditions: str):
    """Read the note; `{etag}` in a condition is its entity tag."""
    etag = world.send("GET", NOTE).headers["ETag"]
    return world.send(method, NOTE, **{name: value.replace("{etag}", etag) for name, value in conditions.items()})


MATCHES = ["*", "{etag}", '"x", {etag}', '{etag},"x"', "{etag},{etag}", '"a,b" , {etag}', ",{etag}"]
# Weak tags never match here, and what cannot be read matches nothing.
DIFFERS = ['"x"', '"x", "y"', "W/{etag}", '"x", W/{etag}', "", " ", "x", "1", '"', '"*"', '"x,*,y"']


@pytest.mark.parametrize("value", MATCHES)
def test_if_match_that_is_true(world, value):
    response = get(world, HTTP_IF_MATCH=value)

    assert (response.status_code, response.json()["text"]) == (200, "hello")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("value", DIFFERS)
def test_if_match_that_is_not(world, method, value):
    response = get(world, method, HTTP_IF_MATCH=value)

    assert (response.status_code, response.headers["Content-Type"]) == (412, "application/problem+json")
    if method == "GET":
        assert_problem(response, 412, "precondition_failed")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("value", [*MATCHES, "W/{etag}", '"x", W/{etag}'])
def test_if_none_match_that_the_client_has_already(world, method, value):
    response = get(world, method, HTTP_IF_NONE_MATCH=value)

    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["ETag"] == world.send("GET", NOTE).headers["ETag"]
    assert "Content-Type" not in response.headers
    assert response.headers["X-Request-ID"]


@pytest.mark.parametrize("value", ['"x"', "", "x", '"*"', 'W/"x"', '"x,*,y"'])
def test_if_none_match_that_it_has_not(world, value):
    assert get(world, HTTP_IF_NONE_MATCH=value).status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH"])
@pytest.mark.parametrize("name", ["HTTP_IF_UNMODIFIED_SINCE", "HTTP_IF_MODIFIED_SINCE"])
@pytest.mark.parametrize(
    "date", [PAST, FUTURE, "", "yesterday", f"{PAST}, {PAST}", "Sat, 29 Oct 999999999 19:43:31 GMT"]
)
def test_a_date_is_ignored_where_nothing_has_one(world, method, name, date):
    body = b'{"text": "Holiday"}' if method == "PATCH" else b""

    assert world.send(method, NOTE, body, **{name: date}).status_code == 200


def test_conditions_are_judged_in_the_order_of_the_standard(world):
    """RFC 9110 §13.2.2: If-Match, then If-None-Match; dates decide nothing beside either."""
    assert get(world, HTTP_IF_MATCH='"x"', HTTP_IF_NONE_MATCH="{etag}").status_code == 412
    assert get(world, HTTP_IF_MATCH="{etag}", HTTP_IF_NONE_MATCH="{etag}").status_code == 304
    assert get(world, HTTP_IF_MATCH="{etag}", HTTP_IF_UNMODIFIED_SINCE=PAST).status_code == 200
    assert get(world, HTTP_IF_NONE_MATCH="{etag}", HTTP_IF_MODIFIED_SINCE=PAST).status_code == 304
    assert get(world, HTTP_IF_NONE_MATCH='"x"', HTTP_IF_MODIFIED_SINCE=FUTURE).status_code == 200


class TestChange:
    """A write to the resource whose ETag the condition names."""

    def patch(self, world: ApiWorld, **conditions: str):
        etag = world.send("GET", NOTE).headers["ETag"]
        conditions = {name: value.replace("{etag}", etag) for name, value in conditions.items()}
        return world.rename(**conditions)

    @pytest.mark.parametrize("value", MATCHES)
    def test_is_made_where_if_match_is_true(self, world, value):
        assert self.patch(world, HTTP_IF_MATCH=value).status_code == 200

    @pytest.mark.parametrize("value", DIFFERS)
    def test_is_not_made_where_it_is_not(self, world, value):
        before = rows()

        assert_problem(self.patch(world, HTTP_IF_MATCH=value), 412, "precondition_failed")
        assert rows() == before

    @pytest.mark.parametrize(
        ("value", "status"), [("*", 412), ("{etag}", 412), ("W/{etag}", 412), ('"x"', 200), ("", 200)]
    )
    def test_if_none_match_refuses_what_is_there(self, world, value, status):
        before = rows()

        response = self.patch(world, HTTP_IF_NONE_MATCH=value)

        assert response.status_code == status
        if status == 412:
            assert_problem(response, 412, "precondition_failed")
            assert rows() == before

    def test_an_answer_that_is_no_success_anyway_ignores_them(self, world):
        stale = {"HTTP_IF_MATCH": '"x"'}

        world.refused(400, "invalid_request", world.rename, b'{"text": 5}', **stale)
        world.refused(404, "not_found", world.rename, who="staff", **stale)
        world.refused(404, "not_found", world.send, "GET", NOTE, who="staff", **stale)
        world.refused(401, "not_authenticated", world.rename, who=None, **stale)


# --- Headers that ask for what nobody here offers ---------------------------------------------------------------------

ASKS = {
    "HTTP_RANGE": ["bytes=0-1", "bytes=99999999-", "lines=1-2", "x"],
    "HTTP_IF_RANGE": ['"x"', PAST],
    "HTTP_EXPECT": ["100-continue"],
    "HTTP_IF_UNMODIFIED_SINCE": [PAST],
    "HTTP_IF_MODIFIED_SINCE": [FUTURE],
    "HTTP_PREFER": ["return=minimal", "respond-async"],
    "HTTP_TE": ["trailers"],
    "HTTP_UPGRADE": ["h2c", "websocket"],
    "HTTP_MAX_FORWARDS": ["0", "x"],
    "HTTP_X_HTTP_METHOD_OVERRIDE": ["DELETE"],
    "HTTP_ACCEPT_LANGUAGE": ["x" * 1000, "de;q=x"],
    "HTTP_ACCEPT_ENCODING": ["identity;q=0", "x"],
    "HTTP_ACCEPT_CHARSET": ["x"],
    "HTTP_COOKIE": ["sessionid=x", "x", "__Host-sessionid=x; csrftoken=y"],
    "HTTP_ORIGIN": ["https://elsewhere.example", "null"],
    "HTTP_REFERER": ["https://elsewhere.example/"],
    "HTTP_USER_AGENT": ["", "x" * 1000],
    "HTTP_X_CSRFTOKEN": ["x"],
}
PLACES = [
    *(("GET", operation.path) for operation in OPERATIONS.values() if operation.method == "GET"),
    ("GET", "/nowhere"),
    ("POST", "/nowhere"),
]


@pytest.mark.parametrize("header", ASKS)
def test_an_answer_is_the_same_whatever_else_is_asked(world, header):
    """No library answers before the view does, with a status, a type or a body of its own."""
    for value, (method, path) in itertools.product(ASKS[header], PLACES):
        plain, asked = world.send(method, path), world.send(method, path, **{header: value})

        case = f"{method} {path} {header}: {value:.40}"
        assert asked.status_code == plain.status_code, case
        assert asked.headers["Content-Type"] == plain.headers["Content-Type"], case
    often = [name for name, each in ENDPOINTS.items() if each.idempotency_key or each.method == "PATCH"]
    for value, endpoint in itertools.product(ASKS[header], often):
        refused = world.call(endpoint, **{header: value}).status_code >= 400
        assert refused == (world.call(endpoint).status_code >= 400), (endpoint, header, value)
