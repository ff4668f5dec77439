"""The one place where money moves; nothing else in the project writes a balance, a transaction or an entry.

`post` runs one SQL statement in autocommit. In one round trip it locks the accounts, checks owner, key, currency, status
and cover, moves the balances and writes the transaction (posted or declined) and its entries. So an account is never
locked while Python runs, and no crash can separate the money from its record or from its idempotency key.

Note [Replay after lock]
The key is looked up in the statement's snapshot, which is older than the lock. Two equal requests at once therefore both
miss it; the second then breaks the unique constraint, which undoes its whole statement, and reads the first one's row.

Note [Fresh rows under the lock]
`FOR NO KEY UPDATE` waits and then returns the newest version of a row, although the snapshot is older (READ COMMITTED,
PostgreSQL documentation §13.2.1). So the verdict is reached on the values that the UPDATE will meet, and the reason of a
decline is as exact as the decision. NO KEY: foreign key checks of other commands need not wait.

Note [New values from the lock]
The UPDATE's own scan meets the snapshot's version of a row first, and PostgreSQL holds what it would make of that one to
the CHECKs before it goes on to the newest version (ExecUpdateAct in nodeModifyTable.c). `balance = balance - amount`
would so be refused for a balance that was too small before a deposit which the lock has waited for. Hence `legs` works
the new values out from the locked row.
"""

import json
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from django.db import DataError, IntegrityError, OperationalError, connection
from psycopg import errors as postgres
from uuid_utils.compat import uuid7

from apps.core.errors import NotFound
from apps.core.idempotency import MARK, IdempotencyKeyInProgress, IdempotencyKeyReused, is_running
from apps.ledger.errors import (
    DECLINES,
    AmountTooFine,
    BalanceLimitExceeded,
    Contention,
    Declined,
    DestinationInvalid,
)
from apps.ledger.gate import admitted
from apps.ledger.metrics import CONTENTION, count_contention
from apps.ledger.models import Account, Entry, Receipt, Transaction
from apps.ledger.money import DEFAULT_EXPONENT, MAX_BALANCE, UNUSUAL_EXPONENTS, decimal_places

MAX_TRIES = 5
FIRST_BACKOFF_S = 0.005
MAX_BACKOFF_S = 0.1
EXPONENTS_AS_JSON = json.dumps(UNUSUAL_EXPONENTS)

POST = f"""
WITH
-- For whoever times out behind us (see _who_is_busy).
marked AS MATERIALIZED (
    SELECT {MARK}
),
-- In primary-key order, so commands on the same accounts never deadlock. See Note [Fresh rows under the lock].
locked AS MATERIALIZED (
    SELECT account.id, account.currency, account.status, account.balance, account.version
    FROM ledger_account AS account, marked
    WHERE account.id IN (%(source)s::uuid, %(destination)s::uuid)
      AND (%(owner)s::uuid IS NULL OR EXISTS (
          SELECT 1 FROM ledger_account WHERE id = %(account)s::uuid AND owner_id = %(owner)s::uuid))
    ORDER BY account.id
    FOR NO KEY UPDATE OF account
),
verdict AS MATERIALIZED (
    SELECT
        clock_timestamp() AS decided_at,
        account.currency,
        EXISTS (
            SELECT 1 FROM ledger_transaction
            WHERE account_id = %(account)s::uuid AND idempotency_key = %(key)s
        ) AS key_is_used,
        %(destination)s::uuid IS NOT NULL AND destination.id IS NULL AS destination_is_missing,
        %(currency)s::text IS NULL
            AND %(places)s > COALESCE((%(exponents)s::jsonb ->> account.currency)::int, %(default_exponent)s)
            AS amount_is_inexact,
        CASE
            WHEN original.status = 'declined' OR original.kind = 'reversal' THEN 'not_reversible'
            WHEN EXISTS (
                SELECT 1 FROM ledger_transaction
                WHERE account_id = %(account)s::uuid AND reverses_id = original.id AND status = 'posted'
            ) THEN 'already_reversed'
            WHEN account.currency <> %(currency)s::text OR source.currency <> destination.currency
                THEN 'currency_mismatch'
            WHEN source.status = 'closed' OR destination.status = 'closed' THEN 'account_closed'
            WHEN source.balance < %(amount)s THEN 'insufficient_funds'
            WHEN destination.balance + %(amount)s > %(max_balance)s THEN 'balance_limit_exceeded'
            ELSE ''
        END AS decline_code
    FROM locked AS account
    LEFT JOIN locked AS source ON source.id = %(source)s::uuid
    LEFT JOIN locked AS destination ON destination.id = %(destination)s::uuid
    LEFT JOIN ledger_transaction AS original ON original.id = %(reverses)s::uuid
    WHERE account.id = %(account)s::uuid
),
-- No ON CONFLICT: a key that is taken must undo the whole statement. See Note [Replay after lock].
recorded AS (
    INSERT INTO ledger_transaction (
        id, account_id, idempotency_key, kind, status, decline_code, source_id, destination_id,
        amount, currency, reference, reverses_id, created_by_id, created_at
    )
    SELECT
        %(id)s, %(account)s::uuid, %(key)s, %(kind)s, CASE decline_code WHEN '' THEN 'posted' ELSE 'declined' END,
        decline_code, %(source)s::uuid, %(destination)s::uuid,
        %(amount)s, COALESCE(%(currency)s::text, currency), %(reference)s, %(reverses)s::uuid, %(actor)s, decided_at
    FROM verdict
    WHERE NOT (key_is_used OR destination_is_missing OR amount_is_inexact)
    RETURNING id, status, created_at
),
-- See Note [New values from the lock].
legs AS (
    SELECT leg.id, leg.account_id, leg.amount, locked.balance + leg.amount AS balance_after,
           locked.version + 1 AS sequence, recorded.id AS transaction_id, recorded.created_at
    FROM recorded
    CROSS JOIN (VALUES
        (%(source_entry)s::uuid, %(source)s::uuid, -%(amount)s::numeric),
        (%(destination_entry)s::uuid, %(destination)s::uuid, %(amount)s::numeric)
    ) AS leg (id, account_id, amount)
    JOIN locked ON locked.id = leg.account_id
    WHERE recorded.status = 'posted'
),
moved AS (
    UPDATE ledger_account AS account
    SET balance = legs.balance_after, version = legs.sequence
    FROM legs
    WHERE account.id = legs.account_id
    RETURNING legs.*
),
booked AS (
    INSERT INTO ledger_entry (id, transaction_id, account_id, sequence, amount, balance_after, created_at)
    SELECT id, transaction_id, account_id, sequence, amount, balance_after, created_at FROM moved
    RETURNING id, account_id, sequence, amount, balance_after
)
SELECT
    verdict.decided_at, verdict.currency, verdict.key_is_used, verdict.destination_is_missing,
    verdict.amount_is_inexact, verdict.decline_code,
    booked.id, booked.account_id, booked.sequence, booked.amount, booked.balance_after
FROM verdict LEFT JOIN booked ON true
"""  # noqa: S608  what is put in is a constant


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A move of money that somebody asks for.

    account_id: the account in the URL, the scope of the idempotency key; it is the source or the destination.
    owner_id: who must own that account, or None where the caller may act on anybody's (staff).
    amount: positive, with the decimal places it was written with.
    currency: what the client named, or None for the account's own.
    """

    kind: Transaction.Kind
    account_id: UUID
    source_id: UUID | None
    destination_id: UUID | None
    amount: Decimal
    currency: str | None
    reference: str
    idempotency_key: str
    actor_id: UUID
    owner_id: UUID | None
    reverses_id: UUID | None = None


P = ParamSpec("P")
T = TypeVar("T")


def retried(function: Callable[P, T]) -> Callable[P, T]:
    """Run again after a serialization failure or a deadlock, at most `MAX_TRIES` times with full jitter.

    Both are PostgreSQL's way to say "once more, from the start" (documentation §13.5); the idempotency key commits with
    the money, so a repeat can't double it. Raises: Contention when the tries are used up, or a lock's timeout is.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        backoff_s = FIRST_BACKOFF_S
        for _ in range(MAX_TRIES):
            try:
                return function(*args, **kwargs)
            except OperationalError as error:
                count_contention(error)
                if isinstance(error.__cause__, postgres.LockNotAvailable):
                    raise Contention from error
                if not isinstance(error.__cause__, postgres.SerializationFailure | postgres.DeadlockDetected):
                    raise
            time.sleep(random.uniform(0, backoff_s))  # noqa: S311  jitter needs no secrecy
            backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)
        raise Contention

    return run


@retried
def post(command: Command) -> Receipt:
    """Move money, once per idempotency key, or say why not.

    Refuses: NotFound if the account is not the owner's; DestinationInvalid; AmountTooFine for the account's currency;
    IdempotencyKeyReused; a `Declined`, which is then recorded and carries its transaction's id;
    Contention or IdempotencyKeyInProgress when the accounts stay locked for longer than the lock timeout.
    Locks: the accounts' rows, in primary-key order, inside the one statement.
    Requires: no open transaction, whose length would be the lock's and whose rollback would lose a recorded decline.
    """
    _require_autocommit()
    ids = uuid7(), uuid7(), uuid7()
    try:
        with admitted(account_id for account_id in (command.source_id, command.destination_id) if account_id):
            rows = _execute(command, *ids)
    except IntegrityError as error:
        return _after_conflict(command, error)
    except OperationalError as error:
        if isinstance(error.__cause__, postgres.LockNotAvailable):
            raise _who_is_busy(command) from error
        raise
    except DataError as error:
        # The verdict knows the columns' limit; where a column knows a lower one, nothing is recorded.
        if isinstance(error.__cause__, postgres.NumericValueOutOfRange):
            raise BalanceLimitExceeded from error
        raise
    if not rows:
        raise NotFound
    verdict = rows[0]
    if verdict["key_is_used"]:
        return _replay(command)
    if verdict["destination_is_missing"]:
        raise DestinationInvalid
    if verdict["amount_is_inexact"]:
        raise AmountTooFine(currency=verdict["currency"])
    if verdict["decline_code"]:
        raise _declined(verdict["decline_code"], transaction_id=ids[0], replayed=False)
    return _receipt(command, transaction_id=ids[0], rows=rows)


def load(*, accounts: Iterable[Account], transactions: Iterable[Transaction], entries: Iterable[Entry]) -> None:
    """Write new accounts with a history that was worked out elsewhere, by COPY; for example data.

    Promises nothing but the database's own constraints: the caller's arithmetic must be right (`books` in the tests).
    Requires: an open `transaction_without_timeouts`, so that a history is there whole or not at all.
    """
    with connection.cursor() as cursor:
        # A foreign key check planned while the tables were empty would scan them from end to end for every row.
        cursor.execute("DISCARD PLANS")
        for model, rows in ((Account, accounts), (Transaction, transactions), (Entry, entries)):
            meta = model._meta  # noqa: SLF001  Django's public API, in spite of its name
            columns = [field.column for field in meta.concrete_fields]
            attributes = [field.attname for field in meta.concrete_fields]
            with cursor.copy(f"COPY {meta.db_table} ({', '.join(columns)}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row([getattr(row, attribute) for attribute in attributes])


def _require_autocommit() -> None:
    # Django's own test for a durable block: those that TestCase wraps round a test do not count.
    if any(not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
        message = "post() commits by itself and must not run inside atomic()."
        raise RuntimeError(message)


def _execute(
    command: Command, transaction_id: UUID, source_entry_id: UUID, destination_entry_id: UUID
) -> list[dict[str, Any]]:
    parameters: dict[str, Any] = {
        "id": transaction_id,
        "source_entry": source_entry_id,
        "destination_entry": destination_entry_id,
        "account": command.account_id,
        "scope": str(command.account_id),
        "owner": command.owner_id,
        "source": command.source_id,
        "destination": command.destination_id,
        "kind": command.kind.value,
        "amount": command.amount,
        "currency": command.currency,
        "places": decimal_places(command.amount),
        "exponents": EXPONENTS_AS_JSON,
        "default_exponent": DEFAULT_EXPONENT,
        "reference": command.reference,
        "reverses": command.reverses_id,
        "key": command.idempotency_key,
        "actor": command.actor_id,
        "max_balance": MAX_BALANCE,
    }
    with connection.cursor() as cursor:
        cursor.execute(POST, parameters)
        columns = [column.name for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def _receipt(command: Command, *, transaction_id: UUID, rows: list[dict[str, Any]]) -> Receipt:
    decided_at: datetime = rows[0]["decided_at"]
    transaction = Transaction(
        id=transaction_id,
        account_id=command.account_id,
        idempotency_key=command.idempotency_key,
        kind=command.kind,
        status=Transaction.Status.POSTED,
        source_id=command.source_id,
        destination_id=command.destination_id,
        amount=command.amount,
        currency=rows[0]["currency"],
        reference=command.reference,
        reverses_id=command.reverses_id,
        created_by_id=command.actor_id,
        created_at=decided_at,
    )
    own = next(row for row in rows if row["account_id"] == command.account_id)
    entry = Entry(
        id=own["id"],
        transaction=transaction,
        account_id=own["account_id"],
        sequence=own["sequence"],
        amount=own["amount"],
        balance_after=own["balance_after"],
        created_at=decided_at,
    )
    return Receipt(transaction=transaction, entry=entry)


def _after_conflict(command: Command, error: IntegrityError) -> Receipt:
    """Answer for a statement that lost a race; the whole of it was undone."""
    match _constraint(error):
        case "idempotency_key_is_used_once_per_account":
            return _replay(command)
        # Somebody reversed the same transaction since our snapshot: the next one sees it and records the decline.
        case "transaction_is_reversed_at_most_once":
            return post(command)
        case _:
            raise error


def _constraint(error: IntegrityError) -> str | None:
    return error.__cause__.diag.constraint_name if isinstance(error.__cause__, postgres.Error) else None


def _replay(command: Command) -> Receipt:
    """Give the answer that the key was given first, or refuse the key for another command."""
    stored = Transaction.objects.select_related("account").get(
        account_id=command.account_id, idempotency_key=command.idempotency_key
    )
    if not _is_the_same(command, stored):
        raise IdempotencyKeyReused
    if stored.status == Transaction.Status.DECLINED:
        raise _declined(stored.decline_code, transaction_id=stored.pk, replayed=True)
    return Receipt(transaction=stored, entry=stored.entries.get(account_id=stored.account_id), replayed=True)


def _is_the_same(command: Command, stored: Transaction) -> bool:
    """Compare what was asked, field by field, so that "25" is "25.00" and naming the account's currency changes nothing."""
    return (
        stored.kind == command.kind
        and stored.source_id == command.source_id
        and stored.destination_id == command.destination_id
        and stored.amount == command.amount
        and stored.currency == (command.currency or stored.account.currency)
        and stored.reference == command.reference
        and stored.reverses_id == command.reverses_id
    )


def _declined(code: str, *, transaction_id: UUID, replayed: bool) -> Declined:
    declined = DECLINES[code]()
    declined.transaction_id = transaction_id
    declined.replayed = replayed
    return declined


def _who_is_busy(command: Command) -> Contention | IdempotencyKeyInProgress:
    """Tell whether the accounts are locked while a request under our own key is running."""
    same_key = is_running(scope=command.account_id, key=command.idempotency_key)
    CONTENTION.labels("key_in_progress" if same_key else "lock_timeout").inc()
    return IdempotencyKeyInProgress() if same_key else Contention()
