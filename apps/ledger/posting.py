"""Posting: the one module that moves money; nothing else in the project writes a balance, a transaction or an entry.

`post` runs one SQL statement (`posting_sql`) in autocommit. So an account is never locked while Python runs, and no crash
can separate the money from its record or from its idempotency key.
"""

import json
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Final, NamedTuple
from uuid import UUID

from django.db import DataError, IntegrityError, OperationalError, connection
from psycopg import errors as postgres
from uuid_utils.compat import uuid7

from apps.core.contention import lock_timeout_error, retry_on_contention
from apps.core.errors import NotFound
from apps.core.idempotency import IdempotencyKeyReused
from apps.core.money.amounts import MAX_VALUE, decimal_places
from apps.core.money.currencies import DEFAULT_EXPONENT, UNUSUAL_EXPONENTS
from apps.core.money.errors import AmountTooFine
from apps.database import prepared
from apps.ledger.errors import DECLINES, BalanceLimitExceeded, Declined, DestinationInvalid
from apps.ledger.metrics import count_command
from apps.ledger.models import Entry, Transaction
from apps.ledger.optional_gate import get_gate
from apps.ledger.posting_sql import POSTING_COLUMNS, POSTING_SQL
from apps.ledger.receipts import Receipt

UNUSUAL_EXPONENTS_JSON: Final = json.dumps(UNUSUAL_EXPONENTS)


class Sides(NamedTuple):
    """The accounts that pay and receive; None is the world outside the bank."""

    source_id: UUID | None
    destination_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyCommand:
    """Base of the use cases that move money: the fields that they share. A subclass declares `kind` and `sides`.

    account_id: the account in the URL, the scope of the idempotency key; it is the source or the destination.
    amount: positive, with the decimal places it was written with.
    currency: the one that the client named, or None for the account's own.
    """

    kind: ClassVar[Transaction.Kind]

    actor_id: UUID
    account_id: UUID
    amount: Decimal
    currency: str | None
    reference: str
    idempotency_key: str

    @property
    def sides(self) -> Sides:
        raise NotImplementedError

    @property
    def owner_id(self) -> UUID | None:
        """The user that must own the account in the URL; None where any owner will do (staff)."""
        return self.actor_id

    @property
    def reverses_id(self) -> UUID | None:
        """The transaction that this one reverses."""
        return None

    def validate(self) -> None:
        """Raise the errors that need no lock and are not recorded."""

    def execute(self) -> Receipt:
        return post(self)


def post(command: MoneyCommand) -> Receipt:
    """Move money once per idempotency key, and count the outcome by kind.

    Raises: NotFound if the account is not the owner's; what `command.validate` raises; DestinationInvalid; AmountTooFine
    for the account's currency; IdempotencyKeyReused; a `Declined`, which is then recorded and carries its transaction's
    id; Contention or IdempotencyKeyInProgress when the accounts stay locked for longer than the lock timeout.
    Locks: the accounts' rows, in primary-key order, inside the one statement.
    Requires: no open transaction, whose length would be the lock's and whose rollback would lose a recorded decline.
    """
    try:
        command.validate()
        receipt = _post(command)
    except Exception as error:
        count_command(command.kind, error)
        raise
    count_command(command.kind, receipt)
    return receipt


@retry_on_contention
def _post(command: MoneyCommand) -> Receipt:
    _require_autocommit()
    ids = uuid7(), uuid7(), uuid7()
    gate = get_gate()
    account_ids = [account_id for account_id in command.sides if account_id]
    try:
        with gate.acquire(account_ids) if gate else nullcontext():
            rows = _execute(command, *ids)
    except IntegrityError as error:
        return _after_conflict(command, error)
    except OperationalError as error:
        if isinstance(error.__cause__, postgres.LockNotAvailable):
            raise lock_timeout_error(command.account_id, command.idempotency_key) from error
        raise
    except DataError as error:
        # The verdict checks MAX_VALUE; where a column holds less than that, nothing is recorded.
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


def _require_autocommit() -> None:
    # Django's own check for durable blocks, which exempts those that TestCase wraps around a test.
    if any(not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
        message = "post() commits by itself and must not run inside atomic()."
        raise RuntimeError(message)


def _execute(
    command: MoneyCommand, transaction_id: UUID, source_entry_id: UUID, destination_entry_id: UUID
) -> list[dict[str, Any]]:
    source_id, destination_id = command.sides
    parameters: dict[str, Any] = {
        "id": transaction_id,
        "source_entry": source_entry_id,
        "destination_entry": destination_entry_id,
        "account": command.account_id,
        "scope": str(command.account_id),
        "owner": command.owner_id,
        "source": source_id,
        "destination": destination_id,
        "kind": command.kind.value,
        "amount": command.amount,
        "currency": command.currency,
        "places": decimal_places(command.amount),
        "unusual_exponents": UNUSUAL_EXPONENTS_JSON,
        "default_exponent": DEFAULT_EXPONENT,
        "reference": command.reference,
        "reverses": command.reverses_id,
        "key": command.idempotency_key,
        "actor": command.actor_id,
        "max_balance": MAX_VALUE,
    }
    return [dict(zip(POSTING_COLUMNS, row, strict=True)) for row in prepared.execute(POSTING_SQL, parameters)]


def _receipt(command: MoneyCommand, *, transaction_id: UUID, rows: list[dict[str, Any]]) -> Receipt:
    decided_at: datetime = rows[0]["decided_at"]
    transaction = Transaction(
        id=transaction_id,
        account_id=command.account_id,
        idempotency_key=command.idempotency_key,
        kind=command.kind,
        status=Transaction.Status.POSTED,
        source_id=command.sides.source_id,
        destination_id=command.sides.destination_id,
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
        kind=command.kind,
        amount=own["amount"],
        balance_after=own["balance_after"],
        reference=command.reference,
        created_at=decided_at,
    )
    return Receipt(transaction=transaction, entry=entry)


def _after_conflict(command: MoneyCommand, error: IntegrityError) -> Receipt:
    """Return the receipt for a statement that lost a race; the whole of it was undone."""
    match _constraint(error):
        case "idempotency_key_is_used_once_per_account":
            return _replay(command)
        # Another request has reversed the same transaction since our snapshot; the next snapshot sees it, and the decline is
        # recorded.
        case "transaction_is_reversed_at_most_once":
            return _post(command)
        case _:
            raise error


def _constraint(error: IntegrityError) -> str | None:
    return error.__cause__.diag.constraint_name if isinstance(error.__cause__, postgres.Error) else None


def _replay(command: MoneyCommand) -> Receipt:
    """Return or raise the key's first answer. Raises: IdempotencyKeyReused for another command."""
    stored = Transaction.objects.select_related("account").get(
        account_id=command.account_id, idempotency_key=command.idempotency_key
    )
    if not _is_the_same(command, stored):
        raise IdempotencyKeyReused
    if stored.status == Transaction.Status.DECLINED:
        raise _declined(stored.decline_code, transaction_id=stored.pk, replayed=True)
    return Receipt(transaction=stored, entry=stored.entries.get(account_id=stored.account_id), replayed=True)


def _is_the_same(command: MoneyCommand, stored: Transaction) -> bool:
    """Compare field by field, so that "25" equals "25.00" and an unnamed currency equals the account's own."""
    return (
        stored.kind == command.kind
        and (stored.source_id, stored.destination_id) == command.sides
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
