"""Django's PostgreSQL backend, with a response timeout, rotated passwords and metrics.

- A statement that the server does not answer fails, and so does one that the server cannot serve (timeout_connection.py).
- A connection to a server that only reads is not kept: after a failover, the old primary returns what is no longer true.
- When the server refuses a password, `DATABASE_CREDENTIALS_HOOK` may return a rotated one (credentials.py).
- Queries and errors are counted as django-prometheus does, and connections as `apps.core.observability.metrics` declares.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from django.db.backends.postgresql.creation import DatabaseCreation
from django.db.backends.utils import CursorWrapper
from django_prometheus.db.backends.postgresql import base

from apps.core.observability.metrics import DB_CONNECT, DB_CONNECT_FAILURES
from apps.database.postgresql import session_without_timeouts
from apps.database.postgresql.credentials import fresh_credentials, password_was_sent
from apps.database.postgresql.timeout_connection import TimeoutConnection, driver
from apps.database.timeouts import HEALTH_CHECK_TIMEOUT_S

# How long a connection to a read-only server is kept: reads go on, and a new primary is found within this time.
READ_ONLY_CONNECTION_MAX_AGE_S: Final = 1.0


class ForcefulCreation(DatabaseCreation):
    """Drop test databases that still have connections: a backend takes a moment to notice that its client left."""

    def _destroy_test_db(self, test_database_name: str, verbosity: int) -> None:
        with self.connection._nodb_cursor() as cursor:  # noqa: SLF001  Django's own way to reach a server
            cursor.execute(f"DROP DATABASE {self.connection.ops.quote_name(test_database_name)} WITH (FORCE)")


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]  # it ships no types
    """Raise OperationalError, and drop the connection, when a statement is not answered in `RESPONSE_TIMEOUT_S`.

    A request whose connection is silent fails after `HEALTH_CHECK_TIMEOUT_S`; it does not spend another connect timeout.
    Whether a statement that was not answered had its effect is unknown, as always when a connection breaks.
    """

    connection: TimeoutConnection | None
    creation_class = ForcefulCreation
    Database = driver()

    @contextmanager
    def _nodb_cursor(self) -> Iterator[CursorWrapper]:
        """Django's way to create and drop databases."""
        with super()._nodb_cursor() as cursor, session_without_timeouts(cursor.db):
            yield cursor

    def get_new_connection(self, conn_params: dict[str, Any]) -> TimeoutConnection:
        """Connect; after a refused password, once more with the credentials that the hook returns."""
        try:
            return self._connect(conn_params)
        except psycopg.OperationalError as error:
            if not password_was_sent(error):
                raise
            fresh = fresh_credentials(self.settings_dict, conn_params)
            if fresh is None:
                raise
        return self._connect(conn_params | fresh)

    def _connect(self, conn_params: dict[str, Any]) -> TimeoutConnection:
        start = time.monotonic()
        try:
            connection: TimeoutConnection = super().get_new_connection(conn_params)
        except psycopg.OperationalError as error:
            DB_CONNECT_FAILURES.labels(reason_of(error)).inc()
            raise
        connection.opened_at = time.monotonic()
        DB_CONNECT.observe(connection.opened_at - start)
        return connection

    def is_usable(self) -> bool:
        if self.connection is None:
            return False
        with self.connection.response_timeout(HEALTH_CHECK_TIMEOUT_S):
            usable: bool = super().is_usable()
        if usable and self.connection.only_reads:
            return time.monotonic() - self.connection.opened_at < READ_ONLY_CONNECTION_MAX_AGE_S
        return usable

    def close_if_health_check_failed(self) -> None:
        checked = self.connection
        super().close_if_health_check_failed()
        if checked is not None and checked.timed_out:
            with self.wrap_database_errors:
                raise psycopg.OperationalError("the server did not answer the health check")


# A failed connection has no SQLSTATE, only a message: of libpq, of the kernel, of PostgreSQL in English, of PgBouncer.
CONNECTION_FAILURE_REASONS: Final = {
    "timeout": ("timeout expired", "timed out"),
    "refused": ("connection refused", "no such file", "is starting up", "is shutting down", "server closed"),
    "too_many": ("too many", "remaining connection slots", "no more connections"),
    "authentication": ("authentication failed", "pg_hba.conf", 'role "', "is not permitted to log in"),
}


def reason_of(error: psycopg.OperationalError) -> str:
    """Return why a connection failed, as a label of the metric; "other" where the message matches no known phrase."""
    if isinstance(error, psycopg.errors.ConnectionTimeout):
        return "timeout"
    message = str(error).lower()
    return next(
        (reason for reason, phrases in CONNECTION_FAILURE_REASONS.items() if any(each in message for each in phrases)),
        "other",
    )
