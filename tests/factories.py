"""Factories of users and accounts, through the use cases: a funded account has a real deposit behind it."""

import itertools
import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

import factory
from django.utils import timezone
from factory.django import DjangoModelFactory
from rest_framework.test import APIClient

from apps.ledger.models import Account
from apps.ledger.use_cases.close_account import CloseAccount
from apps.ledger.use_cases.deposit import Deposit
from apps.ledger.use_cases.transfer import Transfer
from apps.ledger.use_cases.withdraw import Withdraw
from apps.users.models import Token, User, digest_of, new_key

PASSWORD = "correct horse battery staple"
_numbers = itertools.count(1)


def new_idempotency_key() -> str:
    return str(uuid.uuid4())


class UserFactory(DjangoModelFactory[User]):
    class Meta:
        model = User

    username = factory.LazyFunction(lambda: f"customer-{next(_numbers)}-{uuid.uuid4().hex[:8]}")
    email = factory.LazyAttribute(lambda user: f"{user.username}@example.org")

    @classmethod
    def _create(cls, model_class: type[User], *args: Any, **kwargs: Any) -> User:
        return model_class.objects.create_user(*args, password=kwargs.pop("password", PASSWORD), **kwargs)


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


def token_of(user: User) -> str:
    """Issue a token without the cost of a login."""
    key, now = new_key(), timezone.now()
    Token.objects.create(user=user, digest=digest_of(key), created_at=now, expires_at=now + timedelta(hours=1))
    return key


def client_of(user: User) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token_of(user)}")
    return client
