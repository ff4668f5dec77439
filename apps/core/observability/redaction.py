"""Redact log lines and Sentry events, so that they contain no customer data.

An error's message is left out, because its words cannot be told from the values in it. Its type and the place it was raised
at stay; the source line there shows the words. Fixed phrases of PostgreSQL and the interpreter are kept.
"""

import re
import traceback
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

MAX_MESSAGE_LENGTH: Final = 200
FILTERED: Final = "[filtered]"
SECRET_NAME_PARTS: Final = (
    "password",
    "token",
    "secret",
    "authorization",
    "cookie",
    "key",
    "dsn",
    "session",
    "credential",
)
"""A value is filtered if its name contains one of these."""

TOKEN_PREFIX: Final = "tok_"  # noqa: S105  a public prefix, by which secret scanners recognise a leaked token
"""What every API token begins with; a product may have its own."""

TOKEN: Final = re.compile(rf"\b{re.escape(TOKEN_PREFIX)}[A-Za-z0-9_-]{{10,}}")
CREDENTIALS: Final = re.compile(r"://[^/\s@]+@")
QUERY: Final = re.compile(r"\?[^\s'\"]*=[^\s'\"]*")

# Their messages are about code, not about values.
EXCEPTIONS_WITH_SAFE_MESSAGE: Final = (AttributeError, ImportError, ImproperlyConfigured, NameError, SyntaxError)
# Reasons of a failed connection, for which libpq has no code. The text around them holds hosts and users.
KNOWN_CONNECTION_FAILURES: Final = (
    "password authentication failed",
    "no pg_hba.conf entry",
    "too many clients",
    "too many connections",
    "remaining connection slots are reserved",
    "starting up",
    "shutting down",
    "in recovery mode",
    "connection refused",
    "could not translate host name",
    "failed to resolve host",
    "no such file or directory",
    "no route to host",
    "network is unreachable",
    "connection reset by peer",
    "connection timeout",
    "timeout expired",
    "server closed the connection unexpectedly",
    "certificate verify failed",
    "does not support ssl",
    "not currently accepting connections",
    "not permitted to log in",
    "the connection is closed",
    "the connection is lost",
    "does not exist",
)


def safe_message(error: BaseException) -> str:
    """Return the part of an error's message that holds no values; mostly ""."""
    if isinstance(error, EXCEPTIONS_WITH_SAFE_MESSAGE):
        return redact(next(iter(str(error).splitlines()), ""))[:MAX_MESSAGE_LENGTH]
    # psycopg's own, under Django's; compared by name, because this module is imported before the application.
    if not any(each.__module__ == "psycopg" and each.__name__ == "Error" for each in type(error).__mro__):
        return ""
    of_psycopg: Any = error
    if of_psycopg.sqlstate:
        return " ".join(filter(None, [f"SQLSTATE {of_psycopg.sqlstate}", of_psycopg.diag.constraint_name]))
    message = str(error).lower()
    return next((reason for reason in KNOWN_CONNECTION_FAILURES if reason in message), "")


def exception_chain(error: BaseException | None) -> list[BaseException]:
    """Return an error and the errors it was raised from, itself first."""
    errors: list[BaseException] = []
    while error is not None and error not in errors:
        errors.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return errors


def safe_frames(error: BaseException) -> list[str]:
    """Return an error's traceback as `module:line function`, the place it was raised at last."""
    return [
        f"{frame.f_globals.get('__name__', '?')}:{line} {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]


def is_secret(name: str) -> bool:
    """Return whether a value by this name is filtered."""
    return any(part in name.lower() for part in SECRET_NAME_PARTS)


def redact(text: str) -> str:
    """Remove tokens, query strings and the credentials of URLs from a text."""
    return QUERY.sub("?…", CREDENTIALS.sub("://…@", TOKEN.sub(f"{TOKEN_PREFIX}…", text)))
