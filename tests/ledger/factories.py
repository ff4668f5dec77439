"""Factories of accounts, through the use cases: a funded account has a real deposit behind it."""

from decimal import Decimal
from typing import Any

import factory
from django.utils import timezone
from factory.django import DjangoModelFactory

from apps.ledger.models import Account
from apps.ledger.use_cases.close_account import CloseAccount
from apps.ledger.use_cases.deposit import Deposit
from apps.ledger.use_cases.transfer import Transfer
from apps.ledger.use_cases.withdraw import Withdraw
from tests.factories import UserFactory, new_idempotency_key


class AccountFactory(DjangoModelFactory[Account]):
    class Meta:
        model = Account
        # Saving again would put the balance from before the deposit back.
        skip_postgeneration_save = True

    owner = factory.SubFactory(UserFactory)
    currency = "USD"
    created_at = factory.LazyFunction(timezone.now)

    @factory.post_generation
    def funded(account: Account, create: bool, amount: str | None, **kwargs: Any) -> None:  # noqa: N805  factory-boy gives the object
        """Deposit this much."""
        if amount:
            deposit(account, amount)
            account.refresh_from_db()

    @factory.post_generation
    def shut(account: Account, create: bool, closed: bool | None, **kwargs: Any) -> None:  # noqa: N805  factory-boy gives the object
        """Close it, as its owner would."""
        if closed:
            CloseAccount(owner_id=account.owner_id, account_id=account.pk).execute()
            account.refresh_from_db()


def deposit(account: Account, amount: str, **kwargs: Any):
    return Deposit(**_command(account, amount, kwargs)).execute()


def withdraw(account: Account, amount: str, **kwargs: Any):
    return Withdraw(**_command(account, amount, kwargs)).execute()


def transfer(source: Account, destination: Account, amount: str, **kwargs: Any):
    return Transfer(**_command(source, amount, kwargs), destination_id=destination.pk).execute()


def _command(account: Account, amount: str, changes: dict[str, Any]) -> dict[str, Any]:
    fields = {
        "actor_id": account.owner_id,
        "account_id": account.pk,
        "amount": Decimal(amount),
        "currency": None,
        "reference": "",
        "idempotency_key": changes.pop("key", None) or new_idempotency_key(),
    }
    return fields | changes
