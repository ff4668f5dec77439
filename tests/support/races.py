"""Commands at once on connections of their own, and locks of PostgreSQL: held, waited for, counted."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from django.db import connection
from django.db.models import Model

from apps.core.errors import DomainError
from tests.support.patience import HANG_S, eventually


def at_once(commands: list[Callable[[], Any]]) -> list[Any]:
    """Run every command on a thread and a connection of its own, all at once; return results and domain errors."""
    start = threading.Barrier(len(commands))

    def run(command: Callable[[], Any]) -> Any:
        try:
            # A hundred at once connect as fast as the machine lets them. This thread's wrapper alone is changed.
            options = connection.settings_dict["OPTIONS"] | {"connect_timeout": int(HANG_S)}
            connection.settings_dict = connection.settings_dict | {"OPTIONS": options}
            connection.ensure_connection()
            start.wait(timeout=HANG_S)
            return command()
        except DomainError as refusal:
            return refusal
        finally:
            connection.close()

    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(run, commands))


def codes(answers: list[Any]) -> Counter[str]:
    return Counter(answer.code if isinstance(answer, DomainError) else "posted" for answer in answers)


def deadlocks() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return cursor.fetchone()[0]


def waiters() -> int:
    """Count the sessions of this database that wait for a lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pg_blocking_pids(pid) <> '{}'"
        )
        return cursor.fetchone()[0]


def wait_longer_than_the_first() -> None:
    """Return when another command waits for a lock already; this connection then waits for longer than that one."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '3500ms'; SET statement_timeout = 0")
    connection.connection.response_timeout_s = None
    eventually(lambda: waiters() == 1)


class holding:
    """Keep a row locked by another connection for the length of the block."""

    def __init__(self, row: Model) -> None:
        self.row = row

    def __enter__(self) -> Self:
        self.other = connection.copy()
        self.other.inc_thread_sharing()
        self.other.set_autocommit(False)
        with self.other.cursor() as cursor:
            # However long the machine takes, it neither gives up nor is thrown out.
            cursor.execute(
                "SET lock_timeout = 0; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0"
            )
            self.other.commit()
            cursor.execute(f"SELECT 1 FROM {self.row._meta.db_table} WHERE id = %s FOR UPDATE", [self.row.pk])
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.other.rollback()
        self.other.close()
