"""A database backend: `ENGINE = "apps.core.postgresql"`. What it adds to Django's is in base.py."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def patient_transaction() -> Iterator[None]:
    """Open a transaction without limits of time on either side, for work that takes as long as it takes.

    The commit counts too: it checks the foreign keys of all that was written. Requires: no open transaction.
    """
    connection.ensure_connection()
    asked = connection.connection
    usual, asked.answer_timeout_s = asked.answer_timeout_s, None
    try:
        with transaction.atomic(durable=True):
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
            yield
    finally:
        asked.answer_timeout_s = usual
