"""A database backend: `ENGINE = "apps.core.postgresql"`. What it adds to Django's is in base.py."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def patiently() -> Iterator[None]:
    """Lift the limits of time on the transaction that is open, on both sides, for work that takes as long as it takes."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
    asked = connection.connection
    usual, asked.answer_timeout_s = asked.answer_timeout_s, None
    try:
        yield
    finally:
        asked.answer_timeout_s = usual
