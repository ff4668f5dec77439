"""The client's own clock for a server that says nothing."""

import psycopg
import pytest
from django.db import OperationalError, connection

from apps.core import postgresql
from apps.core.postgresql import base

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def impatient(monkeypatch):
    """A fresh connection with little patience."""
    monkeypatch.setattr(base.ImpatientConnection, "answer_timeout_s", 0.3)
    connection.close()
    yield
    connection.close()


def ask(statement: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def test_an_answer_that_does_not_come_breaks_the_connection_and_the_next_question_gets_a_new_one(impatient):
    (first,) = ask("SELECT pg_backend_pid()")

    with pytest.raises(OperationalError, match=r"did not answer within 0\.3 s"):
        ask("SELECT pg_sleep(2)")

    connection.close_if_unusable_or_obsolete()
    (second,) = ask("SELECT pg_backend_pid()")
    assert first != second


def test_work_that_takes_as_long_as_it_takes_may_say_so(impatient):
    with postgresql.patient_transaction():
        ask("SELECT pg_sleep(0.6)")
        assert ask("SHOW statement_timeout") == [("0",)]

    assert ask("SHOW statement_timeout") == [("5s",)]
    with pytest.raises(OperationalError):
        ask("SELECT pg_sleep(2)")


def test_a_silent_connection_is_refused_at_the_health_check_and_not_replaced_by_a_wait(impatient, monkeypatch):
    ask("SELECT 1")
    connection.health_check_done, connection.health_check_enabled = False, True
    monkeypatch.setattr(base, "HEALTH_CHECK_TIMEOUT_S", 0.2)
    execute = psycopg.Cursor.execute
    monkeypatch.setattr(psycopg.Cursor, "execute", lambda self, *_: execute(self, "SELECT pg_sleep(2)"))

    with pytest.raises(OperationalError, match="health check"):
        ask("SELECT 1")

    assert connection.connection is None
