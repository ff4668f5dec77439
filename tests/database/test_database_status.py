"""`manage.py database_status`: a session that sits on a row, and the one that waits for it."""

import contextlib
import io
import threading
from collections.abc import Iterator

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.support.patience import eventually

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "canary-of-a-customer"


def lines(*arguments: str) -> list[str]:
    out = io.StringIO()
    call_command("database_status", *arguments, stdout=out)
    return out.getvalue().splitlines()


@contextlib.contextmanager
def another() -> Iterator[BaseDatabaseWrapper]:
    """A connection of its own to the database of the tests, in a transaction."""
    other = connection.copy()
    other.connect()
    # However slow the machine is.
    for limit in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
        other.cursor().execute(f"SET {limit} = 0")
    other.set_autocommit(autocommit=False)
    try:
        yield other
    finally:
        other.close()


@pytest.fixture
def other():
    """A session that holds a row of a table, and idles in its transaction."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE held (id int)")
        cursor.execute("INSERT INTO held VALUES (1)")
    with another() as other:
        other.cursor().execute(f"UPDATE held SET id = 2 /* {SECRET} */")
        yield other
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE held")


def pid_of(session: BaseDatabaseWrapper) -> int:
    return session.connection.info.backend_pid


def test_names_what_a_session_holds_and_who_waits_for_it_and_no_value(other):
    pid = pid_of(other)

    def wait() -> None:
        with another() as waiter:
            waiter.cursor().execute(f"DELETE FROM held /* {SECRET} */")

    waiting = threading.Thread(target=wait)
    waiting.start()
    try:
        eventually(lambda: any(f"blocked by {pid}" in line for line in lines()))
        printed = lines("--tables")
    finally:
        other.rollback()
        waiting.join()

    (holds,) = [line for line in printed if line.startswith(f"session {pid} ")]
    (waits,) = [line for line in printed if f"blocked by {pid}" in line]
    assert "takes writes" in printed[0]
    assert "idle in transaction for " in holds
    assert ", UPDATE (held), waits for Client ClientRead, blocked by none" in holds
    assert ", DELETE (held), waits for Lock transactionid" in waits
    assert any(line.startswith("table held: ") for line in printed)
    assert SECRET not in "\n".join(printed)


def test_ends_a_session(other):
    pid = pid_of(other)

    assert lines("--end", str(pid)) == [f"Ended the session {pid}."]
    with pytest.raises(OperationalError):
        other.cursor().execute("SELECT 1")


def test_says_when_there_is_no_such_session():
    with pytest.raises(CommandError, match="there is no session 999999"):
        lines("--end", "999999")
