"""Prepared statements: SQL texts that a connection parses and plans once, for what every request sends.

    rows = prepared.query(BALANCES, (owner_id,))

Parsing and planning a statement of eight parts takes three times as long as running it. `execute` sends a statement, `query`
one that only reads. Everything else is Django's: errors, `execute_wrapper`, logged queries, metrics, time limits. With
`DATABASE_TRANSACTION_POOLER=true`, a pooler that would lose them, the same functions send the same texts unprepared.

A text must be a constant, with its values as parameters, or each variant is prepared for itself. psycopg remembers what it
has made of a text of at most 4,096 characters, which `compact` helps to reach; a longer one is taken apart at each use.

Note [Health check]
Django checks an idle connection by `SELECT 1` before a request's first statement, a round trip of its own. Where the first
statement is a `query`, it is the check: it may be sent twice, so where the connection turns out to be closed it is sent on a
new one, and a server that is silent for `HEALTH_CHECK_TIMEOUT_S` ends the request, as with Django's check.

Note [Stale plans]
PostgreSQL plans a prepared statement for its values at the first five uses, and then once for all values if that is about as
good. A migration that changes the type of a column that is returned makes the statement fail, before it does anything
(0A000, "cached plan must not change result type"): outside a transaction it is sent once more, on a new connection.
After a ROLLBACK psycopg prepares everything anew: the transaction may have made what a statement names.
A plan that was made when a table was nearly empty may read the whole table, and is kept until the table is analyzed. So a
connection discards its plans each minute; a new plan takes the table's size from its file.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from django.db import DEFAULT_DB_ALIAS, connections

from apps.database.postgresql.base import DatabaseWrapper

Parameters = Mapping[str, Any] | Sequence[Any]
Row = tuple[Any, ...]


def execute(statement: str, parameters: Parameters, *, using: str = DEFAULT_DB_ALIAS) -> list[Row]:
    """Execute a statement, and return its rows."""
    return cast("DatabaseWrapper", connections[using]).execute_prepared(statement, parameters)


def query(statement: str, parameters: Parameters, *, using: str = DEFAULT_DB_ALIAS) -> list[Row]:
    """Return the rows of a statement that only reads, so that it may be sent twice. See Note [Health check]."""
    return cast("DatabaseWrapper", connections[using]).query_prepared(statement, parameters)


def compact(statement: str) -> str:
    """Return a statement without the lines of comments and the indentation, which are for people."""
    lines = (line.strip() for line in statement.splitlines())
    return "\n".join(line for line in lines if not line.startswith("--"))
