"""Scrubbing of Sentry events; tests/live/test_logs.py reads what is sent, by a sink."""

import json

import psycopg
import pytest
import sentry_sdk
import structlog
from django.http import HttpResponse

from apps.core.observability import sentry as error_reporting

CANARY = "cnry"
TRACE = {"trace_id": "0a", "span_id": "0b", "op": "http.server"}
# Whatever the SDK collects, or may come to.
ANYTHING = {
    "user": {"id": CANARY, "ip_address": CANARY},
    "extra": {"sys.argv": [CANARY]},
    "breadcrumbs": {"values": [{"message": CANARY}]},
    "modules": {CANARY: "1.0"},
    "server_name": CANARY,
    "logentry": {"message": CANARY},
    "contexts": {
        "trace": TRACE | {"data": {"url": CANARY}, "description": CANARY},
        "runtime": {"name": CANARY},
        "response": {"body": CANARY},
    },
    "request": {
        "method": "POST",
        "url": f"https://app.example.org/{CANARY}",
        "query_string": CANARY,
        "data": {"password": CANARY},
        "headers": {"Authorization": CANARY},
        "cookies": {"session": CANARY},
        "env": {"REMOTE_ADDR": CANARY},
    },
    "tags": {"request_id": "one-request", "url": CANARY},
    "something_new": CANARY,
}
ORDINARY = {"event_id": "0c", "timestamp": 1.5, "level": "error", "environment": "production", "release": "0123abcd"}


def exception(error: Exception) -> dict:
    """Return an error as the SDK has it."""
    frame = {"filename": "apps/users/views.py", "function": "post", "lineno": 7, "context_line": "raise error"}
    return {
        "type": type(error).__name__,
        "module": type(error).__module__,
        "value": str(error),
        "mechanism": {"type": "django", "handled": False, "data": {"message": CANARY}},
        "stacktrace": {"frames": [frame | {"vars": {"password": CANARY}}]},
    }


class TestAnError:
    def test_is_put_together_from_what_is_harmless(self):
        error = ValueError(CANARY)
        event = ANYTHING | ORDINARY | {"exception": {"values": [exception(error)]}}

        told = error_reporting._scrub_error(event, {"exc_info": (ValueError, error, None)})

        assert CANARY not in json.dumps(told)
        frame = {"filename": "apps/users/views.py", "function": "post", "lineno": 7, "context_line": "raise error"}
        value = {
            "type": "ValueError",
            "module": "builtins",
            "value": "",
            "mechanism": {"type": "django", "handled": False},
            "stacktrace": {"frames": [frame]},
        }
        assert told == ORDINARY | {
            "tags": {"request_id": "one-request"},
            "contexts": {"trace": TRACE},
            "request": {"method": "POST"},
            "exception": {"values": [value]},
        }

    def test_has_of_its_words_what_may_be_told_each_cause_its_own(self):
        cause = psycopg.OperationalError(f"host {CANARY}: Connection refused")
        error = AttributeError("no attribute pk")
        error.__cause__ = cause
        event = {"exception": {"values": [exception(cause), exception(error)]}}

        told = error_reporting._scrub_error(event, {"exc_info": (AttributeError, error, None)})

        assert [each["value"] for each in told["exception"]["values"]] == ["connection refused", "no attribute pk"]

    def test_that_nobody_raised_is_empty(self):
        assert error_reporting._scrub_error({}, {}) == {
            "tags": {},
            "contexts": {"trace": {}},
            "exception": {"values": []},
        }


class TestATransaction:
    @pytest.mark.parametrize(
        ("source", "name", "named"),
        [
            ("route", "/api/v1/accounts/{account_id}/", True),
            # There is no route, and this is what the client typed.
            ("url", f"/{CANARY}/", False),
        ],
    )
    def test_is_named_by_its_route_or_not_at_all(self, source, name, named):
        event = ANYTHING | {"transaction": name, "transaction_info": {"source": source}}

        told = error_reporting._scrub_transaction(event, {})

        assert ("transaction" in told) is named
        assert CANARY not in json.dumps(told)

    @pytest.mark.parametrize(
        ("description", "told"),
        [
            (f"SELECT * FROM users_user WHERE username = '{CANARY}'", "SELECT"),
            (f"with moved AS (SELECT '{CANARY}') INSERT", "WITH"),
            (f"GET https://example.org/{CANARY}", None),
            (CANARY, None),
            ("", None),
            (None, None),
        ],
    )
    def test_names_a_statement_by_its_first_word(self, description, told):
        span = {"span_id": "0d", "op": "db", "data": {"db.params": [CANARY]}, "description": description}

        (kept,) = error_reporting._scrub_transaction({"spans": [span]}, {})["spans"]

        assert kept == {"span_id": "0d", "op": "db"} | ({"description": told} if told else {})


class TestStart:
    @pytest.fixture
    def started(self, monkeypatch):
        """Return the arguments of the SDK's start; the real start would patch Django for the whole process."""
        given = {}
        monkeypatch.setattr(sentry_sdk, "init", lambda **options: given.update(options))

        def started(share):
            names = {"environment": "production", "release": "0123abcd", "traces_sample_rate": share}
            error_reporting.start(dsn="https://key@sentry.example.org/1", **names)
            return given

        return started

    def test_times_requests_as_told_and_probes_never(self, started):
        sample = started(0.25)["traces_sampler"]

        assert [sample({"wsgi_environ": {"PATH_INFO": "/api/token/"}}), sample({})] == [0.25, 0.25]
        assert {sample({"wsgi_environ": {"PATH_INFO": path}}) for path in ("/ping/", "/livez/", "/readyz/")} == {0}

    def test_times_nothing_without_a_share(self, started):
        assert started(0)["traces_sampler"] is None

    def test_lets_nothing_pass_unseen_and_names_what_runs(self, started):
        given = started(1)

        assert given["before_send"] is error_reporting._scrub_error
        assert given["before_send_transaction"] is error_reporting._scrub_transaction
        assert (given["environment"], given["release"]) == ("production", "0123abcd")


def test_what_happens_in_a_request_has_its_id(rf):
    answer = HttpResponse()
    with sentry_sdk.isolation_scope() as scope, structlog.contextvars.bound_contextvars(request_id="one-request"):
        middleware = error_reporting.SentryRequestIdMiddleware(lambda _: answer)

        assert middleware(rf.get("/")) is answer
        assert scope._tags["request_id"] == "one-request"
