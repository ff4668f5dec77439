"""Verification of the books: run the queries of `invariants` in one read-only snapshot.

PostgreSQL does the work set by set: whatever the size of the ledger, Python receives a count and two examples of each
invariant's violations.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, models

from apps.database.postgresql import transaction_without_timeouts
from apps.ledger.invariants import INVARIANTS, Invariant
from apps.ledger.models import Account, Entry, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class InvariantResult:
    """The result of checking one invariant: how many violations, the earliest and the one with the largest discrepancy."""

    invariant: Invariant
    violations: int
    first: dict[str, Any] | None
    worst: dict[str, Any] | None
    is_skipped: bool = False


@contextmanager
def snapshot() -> Iterator[None]:
    """Run the block in a read-only transaction on one snapshot of the ledger, without locks and without a time limit.

    Requires: no open transaction.
    """
    with transaction_without_timeouts():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # Sorts of a million rows stay in PostgreSQL's memory instead of on its disk.
            cursor.execute("SET LOCAL work_mem = '64MB'")
        yield


def check(accounts: Sequence[UUID] | None = None) -> Iterator[InvariantResult]:
    """Check the invariants one after the other, of the whole ledger or of some accounts."""
    for invariant in INVARIANTS:
        if invariant.is_global and accounts is not None:
            yield InvariantResult(invariant=invariant, violations=0, first=None, worst=None, is_skipped=True)
        else:
            yield _check(invariant, accounts)


def _check(invariant: Invariant, accounts: Sequence[UUID] | None) -> InvariantResult:
    guards = _guards()
    parameters = {
        "accounts": None if accounts is None else list(accounts),
        "guard_kinds": [kind for kind, _, _ in guards],
        "guard_tables": [table for _, table, _ in guards],
        "guard_names": [name for _, _, name in guards],
    }
    query = f"""
        WITH violation AS MATERIALIZED ({invariant.violations})
        SELECT count(*),
               (SELECT to_jsonb(violation) FROM violation ORDER BY at NULLS LAST, subject LIMIT 1),
               (SELECT to_jsonb(violation) FROM violation ORDER BY discrepancy DESC, at, subject LIMIT 1)
        FROM violation
    """  # noqa: S608  put together from constants
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        violations, *examples = cursor.fetchone()
    # Django switches psycopg's decoding of jsonb off, because its JSONField decodes.
    first, worst = (None if text is None else json.loads(text) for text in examples)
    return InvariantResult(invariant=invariant, violations=violations, first=first, worst=worst)


def _guards() -> list[tuple[str, str, str]]:
    """List the constraints and triggers that the models declare: (kind, table, name or column)."""
    guards = [("append-only trigger", Entry._meta.db_table, "ledger_entry_is_append_only")]
    for model in (Account, Transaction, Entry):
        meta = model._meta
        for constraint in meta.constraints:
            kind = "unique" if isinstance(constraint, models.UniqueConstraint) else "check"
            guards.append((kind, meta.db_table, constraint.name))
        for field in meta.concrete_fields:
            if field.primary_key:
                guards.append(("primary key", meta.db_table, field.column))
            elif isinstance(field, models.ForeignKey):
                guards.append(("foreign key", meta.db_table, field.column))
    return guards
