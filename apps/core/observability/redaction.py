"""What may be told to people who must not see what customers wrote: operators, log stores, Sentry.

An error's message is left out, for nobody can tell its words from the values in it. Its type and the place it was raised
at stay; the source line there shows the words. What PostgreSQL and the interpreter say in words of their own is told.
"""

import re
import traceback
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

LONGEST: Final = 200
FILTERED: Final = "[filtered]"
SECRETS: Final = ("password", "token", "secret", "authorization", "cookie", "key", "dsn", "session", "credential")
"""What a name must not contain for its value to be told."""

TOKEN: Final = re.compile(r"\bbank_[A-Za-z0-9_-]{10,}")
CREDENTIALS: Final = re.compile(r"://[^/\s@]+@")
QUERY: Final = re.compile(r"\?[^\s'\"]*=[^\s'\"]*")

# They speak of code, not of values.
TELLING: Final = (AttributeError, ImportError, ImproperlyConfigured, NameError, SyntaxError)
# Why there is no connection: libpq knows no code for it. The text around holds hosts and users.
KNOWN_CONNECTION_FAILURES: Final = (
    *("password authentication failed", "no pg_hba.conf entry", "too many clients", "too many connections"),
    *("remaining connection slots are reserved", "starting up", "shutting down", "in recovery mode"),
    *("connection refused", "could not translate host name", "failed to resolve host", "no such file or directory"),
    *(
        "no route to host",
        "network is unreachable",
        "connection reset by peer",
        "connection timeout",
        "timeout expired",
    ),
    *("server closed the connection unexpectedly", "certificate verify failed", "does not support ssl"),
    *("not currently accepting connections", "not permitted to log in"),
    *("the connection is closed", "the connection is lost", "does not exist"),
)


def safe_message(error: BaseException) -> str:
    """Return what may be told of an error besides its type and place; mostly nothing."""
    if isinstance(error, TELLING):
        return redact(next(iter(str(error).splitlines()), ""))[:LONGEST]
    # psycopg's own, under Django's; known by its name, for this module is read before the application is.
    if not any(each.__module__ == "psycopg" and each.__name__ == "Error" for each in type(error).__mro__):
        return ""
    of_psycopg: Any = error
    if of_psycopg.sqlstate:
        return " ".join(filter(None, [f"SQLSTATE {of_psycopg.sqlstate}", of_psycopg.diag.constraint_name]))
    said = str(error).lower()
    return next((reason for reason in KNOWN_CONNECTION_FAILURES if reason in said), "")


def exception_chain(error: BaseException | None) -> list[BaseException]:
    """Return an error and those it was raised from, itself first."""
    errors: list[BaseException] = []
    while error is not None and error not in errors:
        errors.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return errors


def safe_frames(error: BaseException) -> list[str]:
    """Return where an error passed, as `module:line function`, the place it was raised at last."""
    return [
        f"{frame.f_globals.get('__name__', '?')}:{line} {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]


def is_secret(name: str) -> bool:
    """Tell whether a value by this name is kept back."""
    return any(part in name.lower() for part in SECRETS)


def redact(text: str) -> str:
    """Take tokens, query strings and the credentials of URLs out of a text."""
    return QUERY.sub("?…", CREDENTIALS.sub("://…@", TOKEN.sub("bank_…", text)))
