"""Formatting of log records; tests/live/test_logs.py reads a whole deployment's log."""

import json
import logging
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
import structlog

from apps.core.observability import logs
from apps.core.observability.logs import COMMON_FIELDS, MAX_LINE_LENGTH, MAX_TEXT_LENGTH, LineFormatter
from apps.core.observability.redaction import TOKEN_PREFIX

OWN_LOGGERS, LIBRARY = "apps.users.views", "django.db.backends"
TOKEN = f"{TOKEN_PREFIX}AbCdEfGhIjKlMnOp"
LONG = {f"n{number}": "x" * 400 for number in range(20)}
ID = UUID("01a20f37-3b74-72e8-8ed7-86ca878dbfff")


def record(message="Something", *arguments, name=OWN_LOGGERS, error=None, **extra) -> logging.LogRecord:
    """Return what a logger would hand to its handlers."""
    exc_info = (type(error), error, error.__traceback__) if error else None
    made = logging.getLogger(name).makeRecord(
        name, logging.WARNING, __file__, 1, message, arguments, exc_info, extra=extra
    )
    made.created = 1_700_000_000.25
    return made


def as_text(made: logging.LogRecord) -> str:
    return LineFormatter(log_format="text", release="0123abcd", environment="local").format(made)


def as_json(made: logging.LogRecord) -> dict:
    line = LineFormatter(log_format="json", release="0123abcd", environment="production").format(made)
    assert "\n" not in line
    return json.loads(line)


def told(**extra) -> dict:
    """Return what a line of ours has besides what every line has."""
    line = as_json(record(**extra))
    return {name: value for name, value in line.items() if name not in COMMON_FIELDS}


def raised(error: Exception, cause: Exception | None = None, *, deep: int = 0) -> Exception:
    """Return an error that has been raised, so many calls deep."""

    def fail(deep: int) -> None:
        if deep:
            fail(deep - 1)
        raise error from cause

    with pytest.raises(type(error)) as caught:
        fail(deep)
    return caught.value


# As of a request, an error, a library, and as nobody should.
RECORDS = {
    "a request": record(
        "Request finished",
        name="apps.core.middleware.request_log",
        method="GET",
        route="/api/v1/users/me/",
        status=200,
        duration_ms=1.5,
        user_id=str(ID),
    ),
    "arguments": record("Seen %s of %d", "three", 4),
    "a client's word": record("Request finished", method=f"A{TOKEN}?a=b", route=None, user_id=None),
    "an error": record("Failed", error=raised(KeyError("cnry"), ValueError("cnry"), deep=3), job=3),
    "a library": record("Got %s", TOKEN, name=LIBRARY, params=["cnry"], duration=1.0),
    "a secret": record(password="cnry", level="forged", nested={"token": 1, "list": [ID, Decimal(1)]}),  # noqa: S106
    "too long": record(**LONG),
    "a dictionary": record({"event": "a dictionary"}),
}


class TestEveryLine:
    def test_has_the_same_members_in_the_same_order(self):
        line = as_json(record("Seen %s of %d", "three", 4))

        assert list(line) == list(COMMON_FIELDS)
        assert line == {
            "timestamp": "2023-11-14T22:13:20.250000+00:00",
            "level": "warning",
            "logger": OWN_LOGGERS,
            "event": "Seen three of 4",
            "request_id": "-",
            "release": "0123abcd",
            "environment": "production",
        }

    @pytest.mark.parametrize("made", RECORDS.values(), ids=RECORDS)
    def test_is_what_structlogs_chain_makes(self, made):
        formatter = LineFormatter(log_format="json", release="0123abcd", environment="production")

        assert formatter.format(made) == structlog.stdlib.ProcessorFormatter.format(formatter, made)

    def test_has_the_id_of_its_request(self):
        with structlog.contextvars.bound_contextvars(request_id="one-request"):
            assert as_json(record())["request_id"] == "one-request"

    def test_has_no_token_no_query_and_no_end(self):
        event = as_json(record("%s of /x?token=cnry\r\n" + "x" * 1000, TOKEN))["event"]

        assert event.startswith(f"{TOKEN_PREFIX}… of /x?…\r\n")
        assert len(event) == MAX_TEXT_LENGTH

    def test_cannot_be_given_another_value_for_what_every_line_has(self):
        line = as_json(record(release="forged", level="forged", timestamp="forged", request_id="forged"))

        assert "forged" not in json.dumps(line)

    def test_that_cannot_be_formatted_says_so_and_nothing_else(self):
        line = as_json(record("%d", "cnry"))

        assert (line["event"], line["logger"]) == ("A line that could not be formatted.", OWN_LOGGERS)
        assert "cnry" not in json.dumps(line)


class TestExtra:
    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            (None, None),
            (True, True),
            (3, 3),
            (0.5, 0.5),
            ("text", "text"),
            (f"with {TOKEN}", f"with {TOKEN_PREFIX}…"),
            ("x" * 1000, "x" * MAX_TEXT_LENGTH),
            (ID, str(ID)),
            (Decimal("25.00"), "25.00"),
            (date(2026, 11, 24), "2026-11-24"),
            (datetime(2026, 11, 24, tzinfo=UTC), "2026-11-24 00:00:00+00:00"),
            (timedelta(seconds=5), "0:00:05"),
            ((1, "two"), [1, "two"]),
            ({"one": {"two": [3]}}, {"one": {"two": [3]}}),
            ({"one": {"password": "cnry", "two": 2}}, {"one": {"password": "[filtered]", "two": 2}}),
            ([{"api_key": {"deep": "cnry"}}], [{"api_key": "[filtered]"}]),
            # Of an object only what it is; and what is nested deeper than anybody reads.
            (ValueError("cnry"), "ValueError"),
            (structlog, "module"),
            ([[[["cnry"]]]], [[["list"]]]),
        ],
    )
    def test_of_ours_is_told_as_json_has_it(self, value, shown):
        assert told(value=value) == {"value": shown}

    @pytest.mark.parametrize("name", ["password", "token", "idempotency_key", "Authorization"])
    def test_by_a_secrets_name_is_not_told(self, name):
        assert told(**{name: "cnry"}) == {name: "[filtered]"}

    def test_of_a_library_is_not_told_at_all(self):
        line = as_json(record(name=LIBRARY, sql="SELECT 'cnry'", params=["cnry"], request=object()))

        assert list(line) == list(COMMON_FIELDS)


class TestErrors:
    def test_are_told_by_type_and_place_and_with_their_causes(self):
        error = raised(RuntimeError("cnry"), raised(KeyError("cnry")))

        exception = as_json(record(error=error))["exception"]

        assert [each["type"] for each in exception] == ["RuntimeError", "KeyError"]
        assert [each["message"] for each in exception] == ["", ""]
        assert exception[0]["frames"][-1].startswith("tests.core.observability.test_logs:")
        assert exception[0]["frames"][-1].endswith(" fail")
        assert "cnry" not in json.dumps(exception)

    def test_are_told_to_an_end(self):
        error = raised(RuntimeError(), deep=2 * logs.MAX_FRAMES)
        (told_of_it,) = as_json(record(error=error))["exception"]
        for _ in range(2 * logs.MAX_EXCEPTIONS):
            error = raised(RuntimeError(), error)

        assert len(told_of_it["frames"]) == logs.MAX_FRAMES
        assert told_of_it["frames"][-1].endswith(" fail")
        assert len(as_json(record(error=error))["exception"]) == logs.MAX_EXCEPTIONS

    def test_are_found_however_a_logger_passes_them_on(self):
        error = raised(ValueError("cnry"))
        by_itself = record()
        by_itself.exc_info = error

        assert as_json(by_itself)["exception"] == as_json(record(error=error))["exception"]
        assert as_json(by_itself)["exception"][0]["type"] == "ValueError"


class TestALineThatIsTooLong:
    def test_is_cut_to_what_a_pipe_takes_at_once_and_stays_json(self):
        line = as_json(record(**LONG))

        assert len(json.dumps(line)) <= MAX_LINE_LENGTH
        assert line.keys() == {*COMMON_FIELDS, "cut"}

    def test_keeps_its_error(self):
        error = raised(RuntimeError(), raised(KeyError()), deep=5)

        line = as_json(record(error=error, **LONG))

        assert [each["type"] for each in line["exception"]] == ["RuntimeError", "KeyError"]
        assert [len(each["frames"]) for each in line["exception"]] == [3, 2]
        assert line["cut"] is True


@pytest.mark.parametrize(
    ("said", "event"),
    [
        ("Invalid request from ip=203.0.113.9: cnry", "Invalid request: ValueError"),
        ("Error handling request /cnry?token=cnry", "Error handling request: ValueError"),
        ("Booting worker with pid: 7", "Booting worker with pid: 7"),
    ],
)
def test_gunicorn_quotes_no_request(said, event):
    try:
        int("cnry")
    except ValueError:
        assert as_json(record(said, name="gunicorn.error"))["event"] == event


class TestText:
    def test_is_for_a_developer(self):
        line = as_text(record("Seen\r\n[error] forged", error=raised(ValueError("why")), amount=3, session="cnry"))

        first, *traceback = line.splitlines()
        assert "Seen\\r\\n[error] forged" in first
        assert "amount=3" in first
        assert traceback[-1] == "ValueError: why"
        assert "cnry" not in line

    def test_has_no_traceback_where_there_is_no_error(self):
        assert sys.exc_info() == (None, None, None)
        assert len(as_text(record()).splitlines()) == 1
