"""Django's `migrate` for a database in use: one run at a time, short lock waits with retries, and grants at the end."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

from django.conf import settings
from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from psycopg import errors as postgres

from apps.database import grants
from apps.database.postgresql import enable_client_checks, session_without_timeouts
from apps.database.roles import connected_as

# Pauses between the tries: a transaction that holds a lock has half a minute to end.
RETRY_PAUSES_S: Final = (1, 2, 4, 8, 15)
# Any two numbers that no other lock uses.
ADVISORY_LOCK_ID: Final = (0x62616E6B, 0x6D696772)
LOCK_POLL_S: Final = 0.5
LOCK_WAIT_TIMEOUT_S: Final = 600


class Command(migrate.Command):
    """Migrate as the tables' owner, alone and without blocking requests, then grant the application's role its privileges.

    - The role is that of MIGRATION_DATABASE_URL, if it is set.
    - One `migrate` at a time: another waits for the lock, and then finds nothing to do.
    - Statements have no time limit, but wait for a lock half as long as the application does. A migration whose lock wait
      timed out is a transaction, and is tried again from its start.
    - The statement of a client that is gone (SIGKILL, a stopped task, a lost machine) ends, and so its locks are released
      (`apps.database.postgresql.enable_client_checks`).
    - At the end `apps.database.grants` sets the privileges of the application's role.
    """

    _at_work: Migration | None = None

    def handle(self, *args: Any, **options: Any) -> None:
        if options["plan"] or options["check_unapplied"]:
            super().handle(*args, **options)
            return
        connection = connections[options["database"]]
        role = connection.settings_dict["USER"]
        with _as_owner(connection), self._exclusive_lock(connection), _migration_timeouts(connection):
            separate = connection.settings_dict["USER"] != role
            if separate:
                grants.ensure_separate(connection, role)
            self._migrate(connection, *args, **options)
            if separate:
                grants.grant(connection, role)
                self._write(f"Granted the application's privileges to the role {role}.", options)

    @contextmanager
    def _exclusive_lock(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """Hold an advisory lock that the server releases with the connection, however this process ends."""
        start = time.monotonic()
        announced = False
        while not _advisory_lock_call(connection, "SELECT pg_try_advisory_lock(%s, %s)"):
            if time.monotonic() - start > LOCK_WAIT_TIMEOUT_S:
                raise CommandError(
                    f"another migrate has been running for {LOCK_WAIT_TIMEOUT_S} s: check what it waits for"
                )
            if not announced:
                self.stderr.write("Another migrate is running: waiting for it.")
                announced = True
            time.sleep(LOCK_POLL_S)
        try:
            yield
        finally:
            if connection.connection is not None and not connection.connection.closed:
                _advisory_lock_call(connection, "SELECT pg_advisory_unlock(%s, %s)")

    def _migrate(self, connection: BaseDatabaseWrapper, *args: Any, **options: Any) -> None:
        for pause_s in (*RETRY_PAUSES_S, None):
            try:
                super().handle(*args, **options)
            except OperationalError as error:
                if not isinstance(error.__cause__, postgres.LockNotAvailable):
                    raise
                if pause_s is None:
                    raise CommandError(
                        f"a table was locked at each of {len(RETRY_PAUSES_S) + 1} tries; nothing of this migration is"
                        " done. See who holds it (docs/migrations.md) and migrate again."
                    ) from error
                if self._at_work is not None and not self._at_work.atomic:
                    raise CommandError(
                        f"a table was locked, and {self._at_work} is not a transaction: undo what it left (an"
                        " invalid index, docs/migrations.md) and migrate again."
                    ) from error
                self.stderr.write(f" a table is locked: trying again in {pause_s} s")
                time.sleep(pause_s)
            else:
                return

    def migration_progress_callback(
        self,
        action: str,
        migration: Migration | None = None,
        fake: bool = False,  # noqa: FBT001, FBT002  Django's signature
    ) -> None:
        """Remember which migration is being applied or unapplied: one that is no transaction is half done if it fails."""
        self._at_work = migration if action in {"apply_start", "unapply_start"} else None
        super().migration_progress_callback(action, migration, fake)

    def _write(self, message: str, options: dict[str, Any]) -> None:
        if options["verbosity"] > 0:
            self.stdout.write(message)


def _as_owner(connection: BaseDatabaseWrapper) -> AbstractContextManager[None]:
    """Use the connection of MIGRATION_DATABASE_URL."""
    owner = settings.MIGRATION_DATABASE if connection.alias == "default" else None
    return connected_as(connection, owner) if owner else nullcontext()


@contextmanager
def _migration_timeouts(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Lift the time limits of statements, and shorten the wait for locks."""

    def no_lock_timeout_for_concurrently(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        """Concurrent work on an index waits for transactions to end and blocks none, so it needs no limit."""
        if "CONCURRENTLY" not in sql:
            return execute(sql, *args)
        with connection.connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = 0")
            try:
                return execute(sql, *args)
            finally:
                cursor.execute(f"SET lock_timeout = {round(settings.MIGRATION_LOCK_TIMEOUT_S * 1000)}")

    with session_without_timeouts(connection, lock_timeout_s=settings.MIGRATION_LOCK_TIMEOUT_S):
        enable_client_checks(connection, "SESSION")
        with connection.execute_wrapper(no_lock_timeout_for_concurrently):
            yield


def _advisory_lock_call(connection: BaseDatabaseWrapper, sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, ADVISORY_LOCK_ID)
        return cursor.fetchone()[0]
