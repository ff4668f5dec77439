"""Django's PostgreSQL backend, with a response timeout, rotated passwords and metrics.

- A statement that the server does not answer fails, and so does one that the server cannot serve (timeout_connection.py).
- A connection to a server that only reads is not kept: after a failover, the old primary returns what is no longer true.
- When the server refuses a password, `DATABASE_CREDENTIALS_HOOK` may return a rotated one (credentials.py).
- Queries and errors are counted as django-prometheus does, and connections as `apps.core.observability.metrics` declares.
- Statements that every request sends are prepared (apps.database.prepared).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final

import psycopg
from django.db import InterfaceError, NotSupportedError, OperationalError
from django.db.backends.postgresql.creation import DatabaseCreation
from django.db.backends.postgresql.operations import DatabaseOperations
from django.db.backends.utils import CursorWrapper
from django_prometheus.db.backends.postgresql import base
from django_prometheus.db.common import ExportingCursorWrapper

from apps.core.observability.metrics import DB_CONNECT, DB_CONNECT_FAILURES
from apps.database.postgresql import session_without_timeouts
from apps.database.postgresql.credentials import fresh_credentials, password_was_sent
from apps.database.postgresql.timeout_connection import TimeoutConnection, driver
from apps.database.timeouts import HEALTH_CHECK_TIMEOUT_S, REPLICA_RESPONSE_TIMEOUT_S

# How long a connection to a read-only server is kept: reads go on, and a new primary is found within this time.
READ_ONLY_CONNECTION_MAX_AGE_S: Final = 1.0
# How long the plans of prepared statements are kept. See Note [Stale plans] in apps.database.prepared.
PLANS_MAX_AGE_S: Final = 60.0


class LoggingOperations(DatabaseOperations):
    """Log a prepared statement as it was given: psycopg does not record what it sends then."""

    def last_executed_query(self, cursor: Any, sql: Any, params: Any) -> str:
        return super().last_executed_query(cursor, sql, params) or str(sql)


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
    health_check_done: bool
    creation_class = ForcefulCreation
    ops_class = LoggingOperations
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
            # A replica's are counted where the primary answers in its place (apps.database.replica).
            if not self.settings_dict.get("IS_REPLICA"):
                DB_CONNECT_FAILURES.labels(reason_of(error)).inc()
            raise
        connection.opened_at = connection.planned_at = time.monotonic()
        if self.settings_dict.get("IS_REPLICA"):
            connection.is_replica, connection.response_timeout_s = True, REPLICA_RESPONSE_TIMEOUT_S
        DB_CONNECT.observe(connection.opened_at - start)
        return connection

    def execute_prepared(self, statement: str, parameters: Any) -> list[tuple[Any, ...]]:
        """Execute a statement that each connection prepares once, and return its rows. See Note [Stale plans]."""
        try:
            return self._execute_prepared(statement, parameters)
        except NotSupportedError:
            if self.in_atomic_block or not self._prepares:
                raise
        # Not DEALLOCATE ALL: psycopg, which has to forget them as well, does not notice each one.
        self.close()
        return self._execute_prepared(statement, parameters)

    def query_prepared(self, statement: str, parameters: Any) -> list[tuple[Any, ...]]:
        """As `execute_prepared`, for a statement that only reads. See Note [Health check] in apps.database.prepared."""
        checked = self.connection
        if checked is None or not self.health_check_enabled or self.health_check_done or self.in_atomic_block:
            return self.execute_prepared(statement, parameters)
        self.health_check_done = True
        try:
            with checked.response_timeout(HEALTH_CHECK_TIMEOUT_S):
                rows = self.execute_prepared(statement, parameters)
        except (OperationalError, InterfaceError):
            if not checked.closed:
                raise
            self.close()
            if checked.timed_out:
                raise
        else:
            if self.connection is not checked or not self._has_only_read_for_long(checked):
                return rows
            self.close()
        return self.execute_prepared(statement, parameters)

    def _execute_prepared(self, statement: str, parameters: Any) -> list[tuple[Any, ...]]:
        with self._preparing_cursor() if self._prepares else self.cursor() as cursor:
            cursor.execute(statement, parameters)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    @property
    def _prepares(self) -> bool:
        return self.settings_dict["OPTIONS"].get("prepare_threshold") is not None

    @cached_property
    def _preparing_cursor_class(self) -> type[psycopg.Cursor[Any]]:
        """Return psycopg's own class, which prepares by `prepare_threshold`; Django's bind on the client instead."""
        counting: type[psycopg.Cursor[Any]] = ExportingCursorWrapper(psycopg.Cursor, self.alias, self.vendor)
        return counting

    def _preparing_cursor(self) -> CursorWrapper:
        """Return a cursor as Django's `cursor()` does, of the class that prepares."""
        self.close_if_health_check_failed()
        self.ensure_connection()
        assert self.connection is not None  # noqa: S101  for mypy
        with self.wrap_database_errors:
            if time.monotonic() - self.connection.planned_at >= PLANS_MAX_AGE_S:
                self.connection.planned_at = time.monotonic()
                self.connection.execute("DISCARD PLANS")
            cursor: CursorWrapper = self._prepare_cursor(self._preparing_cursor_class(self.connection))
        return cursor

    def is_usable(self) -> bool:
        if self.connection is None:
            return False
        with self.connection.response_timeout(HEALTH_CHECK_TIMEOUT_S):
            usable: bool = super().is_usable()
        return usable and not self._has_only_read_for_long(self.connection)

    @staticmethod
    def _has_only_read_for_long(connection: TimeoutConnection) -> bool:
        """Return whether a server that should write only reads; of a replica nothing else is expected."""
        if connection.is_replica:
            return False
        return connection.only_reads and time.monotonic() - connection.opened_at >= READ_ONLY_CONNECTION_MAX_AGE_S

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
