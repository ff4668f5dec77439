"""Database backend, `ENGINE = "apps.database.postgresql"` (base.py), and work without its time limits."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from django.db import DatabaseError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import errors as postgres

# A session without `statement_timeout` ends with its client.
CLIENT_CHECK_INTERVAL_MS: Final = 1000
SESSION_SETTINGS: Final = [
    "lock_timeout",
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "client_connection_check_interval",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_keepalives_count",
]

# Longer than any lock is held: the server ends an idle transaction after 10 s, a statement after 5.
MAINTENANCE_LOCK_TIMEOUT_S = 60


@contextmanager
def transaction_without_timeouts() -> Iterator[None]:
    """Open a transaction without time limits on either side, for long work such as an import.

    The commit is included: it checks the foreign keys of all written rows. Requires: no open transaction.
    """
    connection.ensure_connection()
    with connection.connection.response_timeout(None), transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
        enable_client_checks(connection, "LOCAL")
        yield


def enable_client_checks(connection: BaseDatabaseWrapper, scope: Literal["LOCAL", "SESSION"]) -> None:
    """Let the server end a statement, and release its locks, within seconds of the client's end.

    PostgreSQL otherwise notices when it sends the result, so a statement of hours runs on without a client. A process that
    dies closes its connection; a machine that vanishes does not, and is found by TCP keepalives (on TCP). A server that
    cannot check a connection during a statement (Windows, PostgreSQL before 14, before 15 on macOS) rejects the first
    setting and runs without it.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"SET {scope} tcp_keepalives_idle = 10; SET {scope} tcp_keepalives_interval = 5;"
            f" SET {scope} tcp_keepalives_count = 3"
        )
    try:
        # A savepoint inside a transaction: an error must not end that.
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(f"SET {scope} client_connection_check_interval = {CLIENT_CHECK_INTERVAL_MS}")
    except DatabaseError as error:
        if not isinstance(error.__cause__, postgres.InvalidParameterValue | postgres.UndefinedObject):
            raise


@contextmanager
def session_without_timeouts(
    connection: BaseDatabaseWrapper, *, lock_timeout_s: float = MAINTENANCE_LOCK_TIMEOUT_S
) -> Iterator[None]:
    """Lift a session's time limits, for work on a whole database: creating, dropping, flushing, migrating.

    It waits for the disk and for all other transactions. Only a lock that is not released within `lock_timeout_s` ends it.
    At its end every setting of the session has its first value again, also those of `enable_client_checks`.
    """
    connection.ensure_connection()
    session = connection.connection
    try:
        with session.response_timeout(None):
            with connection.cursor() as cursor:
                cursor.execute(
                    f"SET lock_timeout = {round(lock_timeout_s * 1000)}; SET statement_timeout = 0;"
                    " SET idle_in_transaction_session_timeout = 0"
                )
            yield
    finally:
        if not session.closed:
            with connection.cursor() as cursor:
                # Not RESET, which is an error where the server lacks one of them.
                reset = "SELECT set_config(name, reset_val, false) FROM pg_settings WHERE name = ANY(%s)"
                cursor.execute(reset, [SESSION_SETTINGS])
