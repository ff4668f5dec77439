"""Django's PostgreSQL backend, for a server that may fall silent.

A server that is gone is noticed at once. One that keeps its sockets open and says nothing (paused, frozen, its disk stuck,
a network that swallows packets) would hold the asking thread for ever: `statement_timeout` is the server's own clock, and
libpq has no timeout for reading. Here the client has a clock too.

A server may also answer and be of no use: after a failover, the old primary only reads. A statement that writes is then
refused (see Note [Not this server, not now]), and one that reads finds what is no longer true: so no connection stays there.

It also counts: queries and errors as django-prometheus does, and here what it takes to get a connection.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from django.db.backends.postgresql.creation import DatabaseCreation
from django.db.backends.utils import CursorWrapper
from django_prometheus.db.backends.postgresql import base
from psycopg.abc import PQGen

from apps.core.observability.metrics import DB_CONNECT, DB_CONNECT_FAILURES
from apps.database.postgresql import without_limits

# Longer than statement_timeout, so that a server that is merely slow speaks first.
RESPONSE_TIMEOUT_S = 6.0
# How long a connection that was idle may take to say that it lives, at the start of a request.
HEALTH_CHECK_TIMEOUT_S = 2.0
# How long a connection to a server that only reads is kept: reading goes on, and a new primary is found as soon.
ONLY_READING_FOR_S = 1.0

T = TypeVar("T")

# Note [Not this server, not now]
# By these PostgreSQL means itself, and not the statement: 25006, it only reads (a standby, an old primary, a provider's
# brake for a full disk), and 55000, what it cannot do in recovery; class 53, it has no disk, memory or connection left;
# class 58, its system failed; 25P03 and 25P04, it has ended a session whose transaction took too long. All are worth another
# try on another connection, which a failover may lead elsewhere; the one that is kept would stay where it is. So they are
# OperationalErrors (psycopg has class 25 under InternalError), and end the connection; those of class 57 have ended it.
# Not among them: 40001, 40P01, 55P03 and 57014, which are about other transactions and time; 0A000, which no server would
# do; and XX001, broken data, which somebody must see.
NOT_NOW = ("25006", "25P03", "25P04", "55000")
NOT_NOW_CLASSES = ("53", "58")


class ServerUnavailableError(psycopg.OperationalError):
    """A server that says that it cannot do this now, although psycopg calls it otherwise; it keeps the SQLSTATE."""


class TimeoutConnection(psycopg.Connection[Any]):
    """A connection that breaks when the server does not answer within `response_timeout_s` (None: waits for ever).

    And when the server says that it cannot do this now. See Note [Not this server, not now].
    """

    response_timeout_s: float | None = RESPONSE_TIMEOUT_S
    timed_out = False
    opened_at = 0.0

    @property
    def only_reads(self) -> bool:
        """Whether the server only reads, as it said with its last answer: PostgreSQL 14 and later do, a pooler does not."""
        settings = (b"default_transaction_read_only", b"in_hot_standby")
        return any(self.pgconn.parameter_status(name) == b"on" for name in settings)

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        kwargs.setdefault("timeout", self.response_timeout_s)
        try:
            return super().wait(gen, *args, **kwargs)
        except psycopg.errors._WaitTimeout as error:  # noqa: SLF001  the name says: to be converted by whoever set a timeout
            self.timed_out = True
            # The answer may still come, and would be taken for the next question's.
            self.pgconn.finish()
            raise psycopg.OperationalError(f"the server did not answer within {kwargs['timeout']:g} s") from error
        except psycopg.Error as error:
            state = error.sqlstate or ""
            if state not in NOT_NOW and not state.startswith(NOT_NOW_CLASSES):
                raise
            self.pgconn.finish()
            if isinstance(error, psycopg.OperationalError):
                raise
            unavailable = ServerUnavailableError(*error.args)
            unavailable.sqlstate = state
            raise unavailable from error


class ForcefulCreation(DatabaseCreation):
    """Test databases, dropped whoever is still connected: a backend takes a moment to notice that its client left."""

    def _destroy_test_db(self, test_database_name: str, verbosity: int) -> None:
        with self.connection._nodb_cursor() as cursor:  # noqa: SLF001  Django's own way to reach a server
            cursor.execute(f"DROP DATABASE {self.connection.ops.quote_name(test_database_name)} WITH (FORCE)")


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]  # it ships no types
    """Raise OperationalError, and drop the connection, when a statement is not answered in `RESPONSE_TIMEOUT_S`.

    A request that finds its connection silent fails after `HEALTH_CHECK_TIMEOUT_S`, without the time that another
    attempt to connect would take. Whether a statement that was not answered had its effect is unknown, as always when a
    connection breaks.
    """

    connection: TimeoutConnection | None
    creation_class = ForcefulCreation

    @contextmanager
    def _nodb_cursor(self) -> Iterator[CursorWrapper]:
        """Django's way to create and drop databases."""
        with super()._nodb_cursor() as cursor, without_limits(cursor.db):
            yield cursor

    def get_new_connection(self, conn_params: dict[str, Any]) -> TimeoutConnection:
        start = time.monotonic()
        try:
            connection: TimeoutConnection = super().get_new_connection(conn_params)
        except psycopg.OperationalError as error:
            DB_CONNECT_FAILURES.labels(reason_of(error)).inc()
            raise
        DB_CONNECT.observe(time.monotonic() - start)
        # Django calls psycopg.connect() and has no place for another class.
        connection.__class__ = TimeoutConnection
        connection.opened_at = time.monotonic()
        return connection

    def is_usable(self) -> bool:
        if self.connection is None:
            return False
        usual, self.connection.response_timeout_s = self.connection.response_timeout_s, HEALTH_CHECK_TIMEOUT_S
        try:
            usable: bool = super().is_usable()
        finally:
            self.connection.response_timeout_s = usual
        if usable and self.connection.only_reads:
            return time.monotonic() - self.connection.opened_at < ONLY_READING_FOR_S
        return usable

    def close_if_health_check_failed(self) -> None:
        asked = self.connection
        super().close_if_health_check_failed()
        if asked is not None and asked.timed_out:
            with self.wrap_database_errors:
                raise psycopg.OperationalError("the server did not answer the health check")


# A connection that fails has no SQLSTATE, only words: libpq's and the kernel's own, PostgreSQL's in English, PgBouncer's.
CONNECTION_FAILURE_REASONS = {
    "timeout": ("timeout expired", "timed out"),
    "refused": ("connection refused", "no such file", "is starting up", "is shutting down", "server closed"),
    "too_many": ("too many", "remaining connection slots", "no more connections"),
    "authentication": ("authentication failed", "pg_hba.conf", 'role "', "is not permitted to log in"),
}


def reason_of(error: psycopg.OperationalError) -> str:
    """Return why a connection failed, in one of a few words for the metric; "other" where the words tell nothing."""
    if isinstance(error, psycopg.errors.ConnectionTimeout):
        return "timeout"
    words = str(error).lower()
    return next(
        (reason for reason, signs in CONNECTION_FAILURE_REASONS.items() if any(sign in words for sign in signs)),
        "other",
    )
