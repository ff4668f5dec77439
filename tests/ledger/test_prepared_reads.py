"""Two roads to one response: what prepared statements and functions return is what the ORM and the serializers return.

Byte for byte, as it is sent. The rows have amounts finer than their currency, currencies of every number of places, texts
beyond ASCII and moments without a fraction of a second.
"""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.conf import settings
from django.db.models import Q
from rest_framework.exceptions import APIException
from rest_framework.renderers import JSONRenderer
from uuid_utils.compat import uuid7

from apps.core.errors import DomainError
from apps.core.money.currencies import EXPONENTS
from apps.ledger.models import Account, Entry, Transaction
from apps.ledger.receipts import Receipt
from apps.ledger.serializers import (
    AccountOutput,
    MoneyInput,
    StatementLine,
    TransactionOutput,
    transaction_output,
    usual_money,
)
from tests.ledger.factories import AccountFactory

pytestmark = pytest.mark.django_db

ACCOUNTS = "/api/v1/accounts/"
CURRENCIES = ["JPY", "USD", "KWD", "CLF", "HRK"]
CHARACTERS = "ab \\\"'/<&\u00e9\u4e2d\u2028\U0001f600"
LIMITS = [None, 1, 2, 49, 50, 51, 200]


def rendered(data) -> bytes:
    return JSONRenderer().render(data)


def a_text(chance: random.Random, length: int) -> str:
    return "".join(chance.choices(CHARACTERS, k=chance.randrange(length)))


def a_moment(chance: random.Random) -> datetime:
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=chance.randrange(10**13))
    return moment.replace(microsecond=0) if chance.random() < 0.3 else moment


def an_amount(chance: random.Random) -> Decimal:
    return Decimal(chance.randrange(1, 10 ** chance.randrange(1, 12))) / 10**4


def an_account(chance: random.Random, owner) -> Account:
    account = AccountFactory(owner=owner, currency=chance.choice(CURRENCIES), created_at=a_moment(chance))
    Account.objects.filter(pk=account.pk).update(name=a_text(chance, 50), balance=an_amount(chance))
    return account


def add_entries(chance: random.Random, account: Account, count: int) -> None:
    """Add deposits and withdrawals as they would be posted."""
    balance = Decimal(0)
    for sequence in range(1, count + 1):
        is_deposit, amount, moment = chance.random() < 0.6 or not balance, an_amount(chance), a_moment(chance)
        amount = amount if is_deposit else min(amount, balance)
        balance += amount if is_deposit else -amount
        transaction = Transaction.objects.create(
            account=account,
            idempotency_key=str(uuid7()),
            kind="deposit" if is_deposit else "withdrawal",
            status="posted",
            source_id=None if is_deposit else account.pk,
            destination_id=account.pk if is_deposit else None,
            amount=amount,
            currency=account.currency,
            reference=a_text(chance, 140),
            created_by=account.owner,
            created_at=moment,
        )
        Entry.objects.create(
            transaction=transaction,
            account=account,
            sequence=sequence,
            kind=transaction.kind,
            amount=amount if is_deposit else -amount,
            balance_after=balance,
            reference=transaction.reference,
            created_at=moment,
        )


def pages(client, path: str, parameters: dict) -> list:
    """Follow a list to its end by `next`, and back by `previous`; return the lines of the way there, page by page."""
    there, response = [], client.get(path, parameters)
    while True:
        assert response.status_code == 200, response.content
        there.append(response.json()["results"])
        if response.json()["next"] is None:
            break
        response = client.get(response.json()["next"])
    back = [there[-1]]
    while response.json()["previous"] is not None:
        response = client.get(response.json()["previous"])
        back.append(response.json()["results"])
    assert back == there[::-1]
    return there


def expected_entries(account: Account, filters: dict) -> list:
    """Return the lines that the ORM finds and the serializer renders."""
    conditions = {
        "kind": lambda value: Q(kind=value),
        "created_from": lambda value: Q(created_at__gte=value),
        "created_to": lambda value: Q(created_at__lt=value),
        "min_amount": lambda value: Q(amount__gte=value) | Q(amount__lte=-Decimal(value)),
        "max_amount": lambda value: Q(amount__lte=value, amount__gte=-Decimal(value)),
    }
    entries = account.entries.order_by("-sequence")
    for name, value in filters.items():
        entries = entries.filter(conditions[name](value))
    return StatementLine(entries, many=True).data


def some_filters(chance: random.Random) -> dict:
    every = {
        "kind": chance.choice(["deposit", "withdrawal", "transfer"]),
        "created_from": a_moment(chance).isoformat(),
        "created_to": a_moment(chance).isoformat(),
        "min_amount": str(an_amount(chance)),
        "max_amount": str(an_amount(chance)),
    }
    return {name: value for name, value in every.items() if chance.random() < 0.3}


def test_a_statement_is_what_the_orm_and_the_serializer_return(client, user, seed):
    chance, whole = random.Random(seed), 0
    for count in (0, 1, 50, 110):
        account = an_account(chance, user)
        add_entries(chance, account, count)
        add_entries(chance, an_account(chance, user), 3)
        for filters in ({}, *(some_filters(chance) for _ in range(12))):
            limit = chance.choice(LIMITS if not filters else LIMITS[2:])
            parameters = filters | ({"limit": limit} if limit else {})

            found = pages(client, f"{ACCOUNTS}{account.pk}/transactions/", parameters)

            assert all(len(page) == (limit or 50) for page in found[:-1])
            lines = [line for page in found for line in page]
            assert rendered(lines) == rendered(expected_entries(account, filters)), (filters, limit)
            whole += len(lines)
    assert whole > 161


def test_the_bytes_of_a_page_are_the_serializers(client, user, seed):
    account = an_account(random.Random(seed), user)
    add_entries(random.Random(seed), account, 3)

    response = client.get(f"{ACCOUNTS}{account.pk}/transactions/")

    expected = {"next": None, "previous": None, "results": expected_entries(account, {})}
    assert response.content == rendered(expected)


def test_accounts_are_what_the_orm_and_the_serializer_return(client, user, seed):
    chance = random.Random(seed)
    accounts = [an_account(chance, user) for _ in range(60)]
    an_account(chance, AccountFactory().owner)
    expected = AccountOutput(Account.objects.filter(owner=user).order_by("-id"), many=True).data

    for limit in LIMITS:
        found = pages(client, ACCOUNTS, {"limit": limit} if limit else {})
        assert rendered([line for page in found for line in page]) == rendered(expected)
    for account in accounts:
        account.refresh_from_db()
        assert client.get(f"{ACCOUNTS}{account.pk}/").content == rendered(AccountOutput(account).data)


def test_a_transaction_is_what_the_serializer_returns(seed):
    chance = random.Random(seed)
    for _ in range(300):
        currency = chance.choice(CURRENCIES)
        transaction = Transaction(
            kind=chance.choice([*Transaction.Kind, *Transaction.Kind.values]),
            status=chance.choice([*Transaction.Status, *Transaction.Status.values]),
            source_id=chance.choice([None, uuid7()]),
            destination_id=chance.choice([None, uuid7()]),
            reverses_id=chance.choice([None, uuid7()]),
            amount=chance.choice([an_amount(chance), Decimal(25), Decimal("25.00")]),
            currency=currency,
            reference=a_text(chance, 140),
            created_at=a_moment(chance),
        )
        entry = Entry(transaction=transaction, sequence=7, amount=-an_amount(chance), balance_after=an_amount(chance))
        receipt = Receipt(transaction=transaction, entry=chance.choice([None, entry]))

        assert rendered(transaction_output(receipt)) == rendered(TransactionOutput(receipt).data)


# --- Input -----------------------------------------------------------------------------------------------------------

AMOUNTS = [
    "25.00", "1", "0.01", "0.0001", "1.5", "1000000000", "1000000000.00", "1000000000.01", "0", "0.00", "-1", "", " 1",
    "1e3", "1.00000", "1.000", "\u0661", 1, 0, 1.5, True, None, [], "9" * 16,
]  # fmt: skip  # a table: many short values to a line
REFERENCES = [
    "", "rent", "a b", " a", "a ", " ", "\u00e9", "e\u0301", "x\ty", "x" * 140, "x" * 141, "~!", "\x7f", "a\n",
    "\x00", 1, None,
]  # fmt: skip  # a table: many short values to a line
CODES = [*CURRENCIES, "usd", "XXX", "", "USD ", 840, None, []]


def a_body(chance: random.Random) -> dict:
    body = {"amount": chance.choice(AMOUNTS), "currency": chance.choice(CODES), "reference": chance.choice(REFERENCES)}
    if chance.random() < 0.05:
        body["refrence"] = "x"
    return {name: value for name, value in body.items() if chance.random() < 0.8}


def by_the_serializer(body: dict) -> dict | None:
    serializer = MoneyInput(data=body)
    try:
        serializer.is_valid(raise_exception=True)
    except (APIException, DomainError):
        return None
    return dict(serializer.validated_data)


def test_a_usual_body_is_what_the_serializer_makes_of_it(seed):
    chance, usual = random.Random(seed), 0
    for _ in range(5000):
        body = a_body(chance)
        found = usual_money(body)
        if found is not None:
            usual += 1
            expected = by_the_serializer(body)
            assert found == expected, body
            assert str(found["amount"]) == str(expected["amount"])
    assert usual > 100


@pytest.mark.parametrize("currency", [None, *sorted(EXPONENTS)])
def test_nothing_usual_is_left_to_the_serializer(currency):
    body = {"amount": "1", "reference": "Rent, June"} | ({"currency": currency} if currency else {})

    assert usual_money(body) == {"amount": Decimal(1), "currency": currency, "reference": "Rent, June"}
    assert usual_money({"amount": str(settings.MAX_AMOUNT)}) is not None
