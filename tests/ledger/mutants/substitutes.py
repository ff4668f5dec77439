"""Python substitutes for the posting statement, used by some mutants; correct for one request at a time."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from apps.ledger import posting
from apps.ledger.models import Account, Entry, Transaction
from apps.ledger.posting import MoneyCommand

Rows = list[dict[str, Any]]


@transaction.atomic
def read_subtract_save(
    command: MoneyCommand, transaction_id: UUID, source_entry_id: UUID, destination_entry_id: UUID
) -> Rows:
    """Read, decide and write: `atomic` is no isolation, so other requests do the same in between."""
    used = Transaction.objects.filter(account_id=command.account_id, idempotency_key=command.idempotency_key).exists()
    accounts = {account.pk: account for account in Account.objects.filter(pk__in=filter(None, command.sides))}
    account, source, destination = (accounts.get(pk) for pk in (command.account_id, *command.sides))
    if account is None or (command.owner_id and account.owner_id != command.owner_id):
        return []
    code = ""
    if command.reverses_id and Transaction.objects.filter(reverses=command.reverses_id, status="posted").exists():
        code = "already_reversed"
    elif any(side.is_closed for side in accounts.values()):
        code = "account_closed"
    elif source and source.balance < command.amount:
        code = "insufficient_funds"
    verdict = {
        "decided_at": timezone.now(),
        "currency": account.currency,
        "key_is_used": used,
        "destination_is_missing": bool(command.sides.destination_id and destination is None),
        "amount_is_inexact": False,
        "decline_code": code,
    }
    if used or verdict["destination_is_missing"]:
        return [verdict]
    recorded = Transaction.objects.create(
        id=transaction_id,
        account=account,
        idempotency_key=command.idempotency_key,
        kind=command.kind,
        status="declined" if code else "posted",
        decline_code=code,
        source_id=command.sides.source_id,
        destination_id=command.sides.destination_id,
        amount=command.amount,
        currency=account.currency,
        reference=command.reference,
        reverses_id=command.reverses_id,
        created_by_id=command.actor_id,
        created_at=verdict["decided_at"],
    )
    if code:
        return [verdict]
    rows = []
    for entry_id, side, amount in (
        (source_entry_id, source, -command.amount),
        (destination_entry_id, destination, command.amount),
    ):
        if side is not None:
            side.balance += amount
            side.version += 1
            side.save()
            rows.append(verdict | _enter(recorded, entry_id, side, amount))
    return rows


def key_first_then_money(command: MoneyCommand, transaction_id: UUID, *entry_ids: UUID) -> Rows:
    """Record the command in one transaction, and move the money in the next."""
    whole = posting.POSTING_SQL
    posting.POSTING_SQL = whole.replace("WHERE recorded.status = 'posted'\n", "WHERE false\n")
    assert whole != posting.POSTING_SQL
    try:
        rows = posting._execute(command, transaction_id, *entry_ids)
    finally:
        posting.POSTING_SQL = whole
    recorded = Transaction.objects.filter(pk=transaction_id, status="posted").first()
    if recorded is None:
        return rows
    with transaction.atomic():
        sides = Account.objects.select_for_update().in_bulk([recorded.source_id, recorded.destination_id])
        return [
            rows[0] | _move(recorded, entry_id, sides[pk], amount)
            for entry_id, pk, amount in zip(
                entry_ids,
                (recorded.source_id, recorded.destination_id),
                (-recorded.amount, recorded.amount),
                strict=True,
            )
            if pk
        ]


def _move(recorded: Transaction, entry_id: UUID, account: Account, amount: Decimal) -> dict[str, Any]:
    Account.objects.filter(pk=account.pk).update(balance=F("balance") + amount, version=F("version") + 1)
    account.refresh_from_db()
    return _enter(recorded, entry_id, account, amount)


def _enter(recorded: Transaction, entry_id: UUID, account: Account, amount: Decimal) -> dict[str, Any]:
    facts = {"account_id": account.pk, "sequence": account.version, "amount": amount, "balance_after": account.balance}
    told = {"kind": recorded.kind, "reference": recorded.reference, "created_at": recorded.created_at}
    Entry.objects.create(id=entry_id, transaction=recorded, **told, **facts)
    return {"id": entry_id, **facts}
