"""Django's `migrate`, for a database that is in use."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.conf import settings
from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from psycopg import errors as postgres

from apps.database import grants as privileges
from apps.database.postgresql import OF_CLIENT_CHECKS, check_client

# Between the tries: whoever holds a lock has half a minute to be done.
PAUSES_S: Final = (1, 2, 4, 8, 15)
# "bank" and "migrate": any two numbers that nobody else locks.
ONE_AT_A_TIME: Final = (0x62616E6B, 0x6D696772)
TURN_POLL_S: Final = 0.5
TURN_TIMEOUT_S: Final = 600


class Command(migrate.Command):
    """Migrate as the tables' owner, alone, without holding up those who work, and grant the application its rights.

    - The role is that of MIGRATION_DATABASE_URL, where there is one.
    - One `migrate` at a time: another waits for its turn, and then finds nothing to do.
    - A statement may take as long as it takes, but waits for a lock half as long as the application does. What could not
      be had then is tried again, and the migration, which is a transaction, from its start.
    - A client that is gone (SIGKILL, a stopped task, a lost machine) takes its statement with it, and so its locks and its
      turn (`apps.database.postgresql.check_client`).
    - At the end the application's role is granted what `apps.database.grants` says.
    """

    def handle(self, *args: Any, **options: Any) -> None:
        if options["plan"] or options["check_unapplied"]:
            super().handle(*args, **options)
            return
        connection = connections[options["database"]]
        role = connection.settings_dict["USER"]
        with _as_owner(connection), self._turn(connection), _without_haste(connection):
            separate = connection.settings_dict["USER"] != role
            if separate:
                privileges.ensure_separate(connection, role)
            self._migrate(connection, *args, **options)
            if separate:
                privileges.grant(connection, role)
                self._say(f"Granted the role {role} what the application needs.", options)

    @contextmanager
    def _turn(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """Hold a lock that is gone with the connection, whatever becomes of this process."""
        start = time.monotonic()
        told = False
        while not _ask(connection, "SELECT pg_try_advisory_lock(%s, %s)"):
            if time.monotonic() - start > TURN_TIMEOUT_S:
                raise CommandError(f"another migrate has been at work for {TURN_TIMEOUT_S} s: see what it waits for")
            if not told:
                self.stderr.write("Another migrate is at work: waiting for it.")
                told = True
            time.sleep(TURN_POLL_S)
        try:
            yield
        finally:
            if connection.connection is not None and not connection.connection.closed:
                _ask(connection, "SELECT pg_advisory_unlock(%s, %s)")

    def _migrate(self, connection: BaseDatabaseWrapper, *args: Any, **options: Any) -> None:
        for pause_s in (*PAUSES_S, None):
            try:
                super().handle(*args, **options)
            except OperationalError as error:
                if not isinstance(error.__cause__, postgres.LockNotAvailable):
                    raise
                if pause_s is None:
                    raise CommandError(
                        f"a table was locked by others at each of {len(PAUSES_S) + 1} tries; nothing of this migration is"
                        " done. See who holds it (docs/migrations.md) and migrate again."
                    ) from error
                if (half_done := _next_if_not_atomic(connection)) is not None:
                    raise CommandError(
                        f"a table was locked by others, and {half_done} is not a transaction: undo what it left (an"
                        " invalid index, docs/migrations.md) and migrate again."
                    ) from error
                self.stderr.write(f" a table is locked by others: again in {pause_s} s")
                time.sleep(pause_s)
            else:
                return

    def _say(self, words: str, options: dict[str, Any]) -> None:
        if options["verbosity"] > 0:
            self.stdout.write(words)


@contextmanager
def _as_owner(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Let the connection be that of MIGRATION_DATABASE_URL."""
    owner = settings.MIGRATION_DATABASE if connection.alias == "default" else None
    if owner is None:
        yield
        return
    application = connection.settings_dict.copy()
    connection.close()
    connection.settings_dict.update(owner)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(application)


@contextmanager
def _without_haste(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Give statements all the time they need, and locks little."""
    lock_timeout = f"SET lock_timeout = {round(settings.MIGRATION_LOCK_TIMEOUT_S * 1000)}"

    def wait_where_nobody_waits_behind(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        """Concurrent work on an index waits for transactions to end, and nobody for it: it has the time."""
        if "CONCURRENTLY" not in sql:
            return execute(sql, *args)
        with connection.connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = 0")
            try:
                return execute(sql, *args)
            finally:
                cursor.execute(lock_timeout)

    limits = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout", *OF_CLIENT_CHECKS)
    connection.ensure_connection()
    asked = connection.connection
    usual, asked.response_timeout_s = asked.response_timeout_s, None
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"{lock_timeout}; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
        check_client(connection, "SESSION")
        with connection.execute_wrapper(wait_where_nobody_waits_behind):
            yield
    finally:
        asked.response_timeout_s = usual
        if not asked.closed:
            with connection.cursor() as cursor:
                cursor.execute("; ".join(f"RESET {name}" for name in limits))


def _ask(connection: BaseDatabaseWrapper, question: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(question, ONE_AT_A_TIME)
        return cursor.fetchone()[0]


def _next_if_not_atomic(connection: BaseDatabaseWrapper) -> str | None:
    """Return the migration that has just failed, if what it had done stays done."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return None if not plan or plan[0][0].atomic else str(plan[0][0])
