"""Every failure has one shape, wherever it comes from."""

import json

import pytest
from django.db import OperationalError
from django.test import Client
from rest_framework.exceptions import APIException, Throttled
from rest_framework.test import APIClient, APIRequestFactory

from apps.core.problem import from_exception
from tests.factories import client_of
from tests.ledger.test_api import assert_problem

BODY = "/api/v1/accounts/"


@pytest.fixture
def post(client):
    def post(body: bytes | str, content_type="application/json", **extra):
        return client.generic("POST", BODY, body, content_type=content_type, **extra)

    return post


class TestBodies:
    @pytest.mark.parametrize(
        "body",
        [
            b"{", b'{"name": NaN}', b'{"name": Infinity}', b"\xff{}", b"\xef\xbb\xbf{}", b"{'name': 1}", b'{"a": 1,}',
            b"[" * 21 + b"]" * 21, b"[" * 60_000, b'{"a":' * 10_000, b'{"name": ' + b"9" * 5000 + b"}", b"\x00",
        ],
    )  # fmt: skip
    def test_malformed_json(self, post, body):
        assert_problem(post(body), 400, "malformed_json")

    @pytest.mark.parametrize("body", [b"[]", b"1", b'"text"', b"null", b"true"])
    def test_anything_but_an_object(self, post, body):
        assert_problem(post(body), 400, "invalid_request")

    def test_brackets_in_strings_are_not_depth(self, post):
        assert post(json.dumps({"name": '\\"' + "[" * 60})).status_code == 201

    def test_a_key_twice(self, post):
        problem = assert_problem(post(b'{"name": "a", "name": "b"}'), 400, "duplicate_key")
        assert [error["field"] for error in problem["errors"]] == ["name"]

    @pytest.mark.parametrize("text", ["\\u0000", "\\ud800", "\\u0007", "a\\nb"])
    def test_control_characters_in_text(self, post, text):
        assert_problem(post(f'{{"name": "{text}"}}'), 400, "invalid_request")

    def test_other_media_types_charsets_and_encodings(self, post):
        for content_type in ("text/plain", "application/xml", "application/x-www-form-urlencoded",
                             "application/json; charset=latin-1", "application/json; charset=bogus"):  # fmt: skip
            assert_problem(post(b"{}", content_type), 415, "unsupported_media_type")
        assert_problem(post(b"{}", HTTP_CONTENT_ENCODING="gzip"), 415, "unsupported_media_type")
        assert post(b"{}", "application/json; charset=UTF-8").status_code == 201

    def test_too_large_a_body(self, post):
        body = json.dumps({"name": "x" * 70_000})
        assert_problem(post(body), 413, "body_too_large")

    def test_a_body_of_unknown_length(self, post):
        assert_problem(post(b"{}", HTTP_TRANSFER_ENCODING="chunked"), 411, "length_required")


class TestEverywhere:
    def test_unknown_urls_whatever_the_method(self, db):
        for method in ("get", "post", "put", "delete", "options"):
            assert_problem(getattr(Client(enforce_csrf_checks=True), method)("/nowhere"), 404, "not_found")
            assert_problem(getattr(Client(), method)("/api/v1/accounts/1/"), 404, "not_found")

    def test_debug_changes_nothing(self, db, settings):
        settings.DEBUG = True
        assert_problem(Client().get("/nowhere/"), 404, "not_found")
        assert_problem(Client().get("/api/v1/accounts/", headers={"Host": "evil.example"}), 400, "invalid_host")

    def test_other_hosts(self):
        assert_problem(Client().get("/api/v1/accounts/", headers={"Host": "evil.example"}), 400, "invalid_host")

    def test_other_methods_name_the_allowed_ones(self, client):
        for method in ("put", "patch", "options", "trace"):
            response = getattr(client, method, None) or (lambda url, method=method: client.generic(method.upper(), url))
            answer = response(BODY)
            assert_problem(answer, 405, "method_not_allowed")
            assert answer.headers["Allow"] == "GET, HEAD, POST"

    def test_an_accept_header_that_json_does_not_satisfy(self, client):
        assert_problem(client.get(BODY, headers={"Accept": "text/html"}), 406, "not_acceptable")

    def test_no_token(self, db):
        assert_problem(APIClient().get(BODY), 401, "not_authenticated")


class TestExceptions:
    request = APIRequestFactory().get("/somewhere/")

    def test_a_database_that_is_away_is_503(self, client, monkeypatch):
        def away(*args):
            message = "connection to server failed: secret detail"
            raise OperationalError(message)

        monkeypatch.setattr("apps.ledger.models.AccountQuerySet.owned_by", away)

        response = client.get(BODY)

        problem = assert_problem(response, 503, "unavailable")
        assert response.headers["Retry-After"] == "5"
        assert "secret" not in str(problem)

    def test_a_bug_is_500_logged_once_and_tells_nothing(self, client, monkeypatch, caplog):
        def broken(*args):
            message = "secret detail"
            raise RuntimeError(message)

        monkeypatch.setattr("apps.ledger.models.AccountQuerySet.owned_by", broken)

        # Sentry is told as well; the test client would raise what it is told.
        client.raise_request_exception = False
        problem = assert_problem(client.get(BODY), 500, "internal_error")

        assert "secret" not in str(problem)
        assert [record.levelname for record in caplog.records] == ["ERROR"]

    @pytest.mark.parametrize(
        ("exception", "status", "code"),
        [(Throttled(wait=7.2), 429, "throttled"), (APIException(), 500, "internal_error")],
    )
    def test_what_the_framework_raises(self, exception, status, code):
        response = from_exception(self.request, exception)

        assert (response.status_code, json.loads(response.content)["code"]) == (status, code)
        assert response.headers.get("Retry-After") == ("8" if status == 429 else None)

    def test_djangos_own_handlers(self, rf):
        from config import urls

        request = rf.get("/")
        statuses = [handler(request).status_code for handler in (urls.handler400, urls.handler403, urls.handler404)]
        assert statuses == [400, 403, 404]
        assert urls.handler500(request).status_code == 500


class TestRequestId:
    def test_a_good_one_is_kept_and_a_bad_one_replaced(self, user):
        client = client_of(user)
        assert client.get(BODY, headers={"X-Request-ID": "abc-123.X_y"}).headers["X-Request-ID"] == "abc-123.X_y"
        for bad in ("short", "x" * 65, "a b c d e f", "ümlaut-ümlaut"):
            made = client.get(BODY, HTTP_X_REQUEST_ID=bad).headers["X-Request-ID"]
            assert made != bad
            assert len(made) == 32
