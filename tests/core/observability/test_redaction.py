"""Redaction of error messages and of texts."""

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, OperationalError
from psycopg import errors as postgres

from apps.core.observability.redaction import (
    MAX_MESSAGE_LENGTH,
    TOKEN_PREFIX,
    exception_chain,
    is_secret,
    redact,
    safe_frames,
    safe_message,
)
from apps.users.models import new_key
from tests.factories import UserFactory

TOKEN = f"{TOKEN_PREFIX}AbCdEfGhIjKlMnOp-_0123456789"
REDACTED_TOKEN = f"{TOKEN_PREFIX}…"


class Canary(Exception):
    """An error type of unknown code."""


class TestDescribe:
    @pytest.mark.parametrize(
        ("error", "told"),
        [
            # Nobody can tell its words from the values in it.
            (ValueError("could not convert 'cnry' to Decimal"), ""),
            (Canary("cnry"), ""),
            (KeyError("cnry"), ""),
            (OperationalError("cnry"), ""),
            # They speak of code.
            (AttributeError("'NoneType' object has no attribute 'pk'"), "'NoneType' object has no attribute 'pk'"),
            (ImportError("No module named 'silk'"), "No module named 'silk'"),
            (ImproperlyConfigured("SECRET_KEY is missing\ncnry"), "SECRET_KEY is missing"),
            (NameError(f"name '{TOKEN}' is not defined"), f"name '{REDACTED_TOKEN}' is not defined"),
            (NameError("x" * 1000), "x" * MAX_MESSAGE_LENGTH),
            (NameError(), ""),
            # PostgreSQL's own words.
            (postgres.UniqueViolation("Key (email)=(cnry) already exists."), "SQLSTATE 23505"),
            (postgres.InvalidTextRepresentation('invalid input syntax for type uuid: "cnry"'), "SQLSTATE 22P02"),
            (psycopg.OperationalError('host "cnry": Connection refused'), "connection refused"),
            (
                psycopg.OperationalError('password authentication failed for user "cnry"'),
                "password authentication failed",
            ),
            (psycopg.OperationalError("FATAL: sorry, too many clients already"), "too many clients"),
            (psycopg.OperationalError("cnry"), ""),
            (psycopg.InterfaceError("the connection is closed"), "the connection is closed"),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
    )
    def test_tells_what_is_not_of_a_customers(self, error, told):
        assert safe_message(error) == told

    @pytest.mark.django_db
    def test_names_the_constraint_that_was_broken_and_no_value(self):
        UserFactory(username="cnry")

        with pytest.raises(IntegrityError, match="cnry") as refused:
            UserFactory(username="cnry")

        assert safe_message(refused.value) == ""
        told = safe_message(refused.value.__cause__)
        assert told.startswith("SQLSTATE 23505 users_user_username")
        assert "cnry" not in told


class TestChain:
    @pytest.fixture
    def error(self):
        """An error with a cause and a context that is another."""
        error = Canary()
        error.__cause__, error.__context__ = ValueError(), KeyError()
        return error

    def test_of_no_error_is_empty(self):
        assert exception_chain(None) == []

    def test_follows_the_cause_before_the_context(self, error):
        assert exception_chain(error) == [error, error.__cause__]

    def test_follows_the_context_unless_it_is_suppressed(self, error):
        # As `raise` inside an `except` has it, and `raise ... from None`.
        error.__cause__, error.__suppress_context__ = None, False
        assert exception_chain(error) == [error, error.__context__]
        error.__suppress_context__ = True
        assert exception_chain(error) == [error]

    def test_ends_where_it_bites_its_tail(self, error):
        error.__cause__.__cause__ = error

        assert exception_chain(error) == [error, error.__cause__]


def test_frames_are_the_way_to_where_it_was_raised():
    def inner():
        raise Canary("cnry")

    with pytest.raises(Canary) as raised:
        inner()

    outer_frame, inner_frame = safe_frames(raised.value)
    assert outer_frame.startswith("tests.core.observability.test_redaction:")
    assert outer_frame.endswith(" test_frames_are_the_way_to_where_it_was_raised")
    assert inner_frame.endswith(" inner")
    assert safe_frames(Canary()) == []


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("password", True),
        ("NEW_PASSWORD", True),
        ("access_token", True),
        ("Authorization", True),
        ("Set-Cookie", True),
        ("Idempotency-Key", True),
        ("SENTRY_DSN", True),
        ("sessionid", True),
        ("client_secret", True),
        ("credentials", True),
        ("amount", False),
        ("user_id", False),
        ("route", False),
    ],
)
def test_a_name_tells_whether_its_value_is_secret(name, secret):
    assert is_secret(name) is secret


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("nothing to hide: 25.00 USD", "nothing to hide: 25.00 USD"),
        (f"Token {TOKEN}.", f"Token {REDACTED_TOKEN}."),
        (f"{TOKEN_PREFIX}app is a database", f"{TOKEN_PREFIX}app is a database"),
        ("postgres://app:cnry@db:5432/app", "postgres://…@db:5432/app"),
        ("redis://:cnry@redis/0 and https://example.org/", "redis://…@redis/0 and https://example.org/"),
        ("GET /api/v1/accounts/?cursor=cnry&limit=5 HTTP/1.1", "GET /api/v1/accounts/?… HTTP/1.1"),
        ("'/x?token=cnry'", "'/x?…'"),
        ("really? yes", "really? yes"),
        ("", ""),
    ],
)
def test_tokens_credentials_and_query_strings_are_taken_out_of_texts(text, redacted):
    assert redact(text) == redacted


def test_a_token_of_the_products_own_making_is_redacted():
    assert redact(f"Token {new_key()}.") == f"Token {REDACTED_TOKEN}."
