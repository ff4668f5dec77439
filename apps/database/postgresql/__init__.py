"""Database backend, `ENGINE = "apps.database.postgresql"` (base.py), and work without its time limits."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from django.db import DatabaseError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import errors as postgres

# What a session without `statement_timeout` is bound to instead: its client.
CLIENT_CHECK_INTERVAL_MS: Final = 1000
OF_CLIENT_CHECKS: Final = (
    "client_connection_check_interval",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_keepalives_count",
)

# Nobody holds a lock for so long: a transaction that idles is ended after 10 s, a statement after 5.
PATIENT_LOCK_TIMEOUT_S = 60


@contextmanager
def transaction_without_timeouts() -> Iterator[None]:
    """Open a transaction without limits of time on either side, for work that takes as long as it takes.

    The commit counts too: it checks the foreign keys of all that was written. Requires: no open transaction.
    """
    connection.ensure_connection()
    asked = connection.connection
    usual, asked.response_timeout_s = asked.response_timeout_s, None
    try:
        with transaction.atomic(durable=True):
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
            check_client(connection, "LOCAL")
            yield
    finally:
        asked.response_timeout_s = usual


def check_client(connection: BaseDatabaseWrapper, scope: Literal["LOCAL", "SESSION"]) -> None:
    """Let the server end a statement, and give its locks back, within seconds of the client's death.

    PostgreSQL otherwise notices when it has an answer to send, so a statement of hours runs on for nobody. A process that
    dies closes its connection; a machine that vanishes does not, and is found by TCP's keepalives (on TCP). A server that
    cannot look at a connection while it works (Windows, PostgreSQL before 14, before 15 on macOS) refuses the first and
    goes without.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"SET {scope} tcp_keepalives_idle = 10; SET {scope} tcp_keepalives_interval = 5;"
            f" SET {scope} tcp_keepalives_count = 3"
        )
    try:
        # A savepoint inside a transaction: a refusal must not end that.
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(f"SET {scope} client_connection_check_interval = {CLIENT_CHECK_INTERVAL_MS}")
    except DatabaseError as error:
        if not isinstance(error.__cause__, postgres.InvalidParameterValue | postgres.UndefinedObject):
            raise


@contextmanager
def session_without_timeouts(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Lift a session's limits of time, for work on a whole database: creating, dropping, flushing.

    It waits for the disk and for everybody else's transactions, which takes as long as the machine lets it. Only a lock
    that never comes ends it.
    """
    connection.ensure_connection()
    asked = connection.connection
    usual, asked.response_timeout_s = asked.response_timeout_s, None
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SET lock_timeout = '{PATIENT_LOCK_TIMEOUT_S}s'; SET statement_timeout = 0;"
                " SET idle_in_transaction_session_timeout = 0"
            )
        yield
    finally:
        asked.response_timeout_s = usual
        if not asked.closed:
            with connection.cursor() as cursor:
                cursor.execute("RESET lock_timeout; RESET statement_timeout; RESET idle_in_transaction_session_timeout")
