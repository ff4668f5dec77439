"""Problem documents: every failure has one format, from views, middlewares and Django's error handlers."""

import json

import pytest
from django.db import OperationalError
from django.test import Client
from rest_framework.exceptions import APIException, Throttled
from rest_framework.test import APIClient, APIRequestFactory

from apps.core.problem import from_exception
from tests.factories import client_of
from tests.notes.urls import NOTES
from tests.support.problems import assert_problem

pytestmark = pytest.mark.urls("tests.notes.urls")


class TestBodies:
    """Bodies that are accepted; the refused ones are in test_bad_input.py."""

    def test_brackets_in_strings_are_not_depth(self, client):
        assert client.post(NOTES, {"text": '\\"' + "[" * 60}).status_code == 201

    def test_utf8_may_be_named(self, client):
        answer = client.generic("POST", NOTES, b'{"text": "x"}', content_type="application/json; charset=UTF-8")
        assert answer.status_code == 201

    def test_a_problem_names_fifty_fields_at_most(self, client):
        problem = assert_problem(client.post(NOTES, {str(number): 1 for number in range(60)}), 400, "unknown_field")
        assert len(problem["errors"]) == 50


class TestEverywhere:
    def test_unknown_urls_whatever_the_method(self, db):
        for method in ("get", "post", "put", "delete", "options"):
            assert_problem(getattr(Client(enforce_csrf_checks=True), method)("/nowhere"), 404, "not_found")
            assert_problem(getattr(Client(), method)("/api/v1/users/1/"), 404, "not_found")

    def test_debug_changes_nothing(self, db, settings):
        settings.DEBUG = True
        assert_problem(Client().get("/nowhere/"), 404, "not_found")
        assert_problem(Client().get("/api/v1/users/me/", headers={"Host": "evil.example"}), 400, "invalid_host")

    def test_other_hosts(self):
        assert_problem(Client().get("/api/v1/users/me/", headers={"Host": "evil.example"}), 400, "invalid_host")

    def test_other_methods_name_the_allowed_ones(self, client):
        for method in ("put", "patch", "options", "trace"):
            response = getattr(client, method, None) or (lambda url, method=method: client.generic(method.upper(), url))
            answer = response(NOTES)
            assert_problem(answer, 405, "method_not_allowed")
            assert answer.headers["Allow"] == "GET, HEAD, POST"

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
    def test_a_static_file_is_only_read(self, method):
        answer = Client(enforce_csrf_checks=True).generic(method, "/static/admin/css/base.css")

        assert_problem(answer, 405, "method_not_allowed")
        assert answer.headers["Allow"] == "GET, HEAD"

    @pytest.mark.parametrize(
        "header",
        [{"Range": "bytes=99999999-"}, {"Range": "bytes=0-1"}, {"If-Unmodified-Since": "x"}, {"If-Match": '"x"'}],
    )
    def test_a_static_file_is_read_whole(self, header):
        path = "/static/admin/css/base.css"
        whole, asked = (b"".join(Client().get(path, headers=headers).streaming_content) for headers in ({}, header))

        assert asked == whole

    def test_an_accept_header_that_json_does_not_satisfy(self, client):
        assert_problem(client.get(NOTES, headers={"Accept": "text/html"}), 406, "not_acceptable")

    def test_no_token(self, db):
        assert_problem(APIClient().get(NOTES), 401, "not_authenticated")


class TestExceptions:
    request = APIRequestFactory().get("/somewhere/")

    def test_a_database_that_is_away_is_503(self, client, monkeypatch):
        def away(*args):
            message = "connection to server failed: secret detail"
            raise OperationalError(message)

        monkeypatch.setattr("tests.notes.models.NoteQuerySet.owned_by", away)

        response = client.get(NOTES)

        problem = assert_problem(response, 503, "unavailable")
        assert response.headers["Retry-After"] == "5"
        assert "secret" not in str(problem)

    def test_a_bug_is_500_logged_once_and_tells_nothing(self, client, monkeypatch, caplog):
        def broken(*args):
            message = "secret detail"
            raise RuntimeError(message)

        monkeypatch.setattr("tests.notes.models.NoteQuerySet.owned_by", broken)

        # The signal for Sentry is sent as well; the test client would raise the exception of that signal.
        client.raise_request_exception = False
        problem = assert_problem(client.get(NOTES), 500, "internal_error")

        assert "secret" not in str(problem)
        assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]

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
        assert client.get(NOTES, headers={"X-Request-ID": "abc-123.X_y"}).headers["X-Request-ID"] == "abc-123.X_y"
        for bad in ("short", "x" * 65, "a b c d e f", "ümlaut-ümlaut"):
            made = client.get(NOTES, HTTP_X_REQUEST_ID=bad).headers["X-Request-ID"]
            assert made != bad
            assert len(made) == 32
