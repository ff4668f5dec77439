"""The three ways to withdraw that the contenders in Django take, and a transfer under row locks."""

from contextlib import nullcontext
from decimal import Decimal
from functools import cache
from uuid import UUID

import redis
from django.conf import settings
from django.db import IntegrityError, transaction

from tests.ledger.benchmarks.peers.django_bank.models import Account, Customer, Entry, Movement

# As redis-py's documentation has it: the lock ends by itself if its holder dies.
LEASE_S = 10


class InsufficientFundsError(Exception):
    """The balance does not cover the amount."""


@cache
def redis_client() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL)


def withdraw(*, owner: Customer, account_id: UUID, amount: Decimal, key: str, reference: str, variant: str) -> Entry:
    """Read, subtract and save, in one transaction.

    Variant `locked` locks the row first, and `redis` takes a lock in Redis besides. Any other does neither, so two requests
    at once read the same balance, and one of the withdrawals is lost: `atomic` does not prevent it.
    """
    lock = redis_client().lock(f"account:{account_id}", timeout=LEASE_S) if variant == "redis" else nullcontext()
    try:
        with lock, transaction.atomic():
            accounts = Account.objects.select_for_update() if variant in {"locked", "redis"} else Account.objects
            account = accounts.get(pk=account_id, owner=owner)
            if account.balance < amount:
                raise InsufficientFundsError
            account.balance -= amount
            account.version += 1
            account.save()
            movement = Movement.objects.create(
                account=account,
                idempotency_key=key,
                kind="withdrawal",
                source_id=account.pk,
                amount=amount,
                currency=account.currency,
                reference=reference,
                created_by=owner,
            )
            return _enter(movement, account, -amount)
    except IntegrityError:
        return replay(account_id, key)


def transfer(
    *, owner: Customer, account_id: UUID, destination_id: UUID, amount: Decimal, key: str, reference: str
) -> Entry:
    """Move money between two accounts, locked in the order of their keys."""
    try:
        with transaction.atomic():
            pair = Account.objects.select_for_update().filter(pk__in=[account_id, destination_id]).order_by("pk")
            accounts = {account.pk: account for account in pair}
            source, destination = accounts[account_id], accounts[destination_id]
            if source.owner_id != owner.pk:
                raise Account.DoesNotExist
            if source.balance < amount:
                raise InsufficientFundsError
            movement = Movement.objects.create(
                account=source,
                idempotency_key=key,
                kind="transfer",
                source_id=source.pk,
                destination_id=destination.pk,
                amount=amount,
                currency=source.currency,
                reference=reference,
                created_by=owner,
            )
            for account, signed in ((source, -amount), (destination, amount)):
                account.balance += signed
                account.version += 1
                account.save(update_fields=["balance", "version"])
            own = _enter(movement, source, -amount)
            _enter(movement, destination, amount)
            return own
    except IntegrityError:
        return replay(account_id, key)


def replay(account_id: UUID, key: str) -> Entry:
    """Return the entry of a request that was sent before."""
    return Entry.objects.select_related("movement").get(
        account=account_id, movement__account=account_id, movement__idempotency_key=key
    )


def statement(*, owner: Customer, account_id: UUID, cursor: int | None, limit: int) -> list[Entry]:
    """Return a page of an account's entries, newest first, and one more if there is another page."""
    account = Account.objects.get(pk=account_id, owner=owner)
    entries = Entry.objects.filter(account=account).select_related("movement").order_by("-sequence")
    if cursor is not None:
        entries = entries.filter(sequence__lt=cursor)
    return list(entries[: limit + 1])


def _enter(movement: Movement, account: Account, amount: Decimal) -> Entry:
    return Entry.objects.create(
        movement=movement, account=account, sequence=account.version, amount=amount, balance_after=account.balance
    )
