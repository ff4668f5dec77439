"""Currencies that ISO 4217 withdraws, changes or never had: stored accounts go on, and no new one is opened."""

from decimal import Decimal

import pytest
from django.core.checks import run_checks
from django.db import connection

from apps.core.money import currencies
from apps.core.money.amounts import format_amount
from apps.ledger.models import Account, Transaction
from tests.factories import client_of
from tests.ledger.assertions import assert_books_balance
from tests.ledger.factories import AccountFactory, deposit
from tests.ledger.requests import ask, url
from tests.support.problems import assert_problem

pytestmark = pytest.mark.django_db

WITHDRAWN = {"HRK": ("100.00", "25.01"), "TRL": ("100", "25"), "ROL": ("100", "25"), "BGN": ("100.00", "25.10")}
NEVER_THERE = {"ZZZ": ("100.00", "25.01")}


@pytest.mark.parametrize(("currency", "amounts"), (WITHDRAWN | NEVER_THERE).items())
def test_an_account_in_it_is_shown_and_moves_money(client, user, staff, currency, amounts):
    whole, some = amounts
    account, other = (AccountFactory(owner=user, currency=currency) for _ in range(2))

    assert ask(client, account, "deposits", amount=whole).json()["entry"]["balance_after"] == whole
    taken = ask(client, account, "withdrawals", amount=some)
    assert (taken.status_code, taken.json()["amount"], taken.json()["currency"]) == (201, some, currency)
    moved = ask(client, account, "transfers", amount=some, destination=str(other.pk))
    assert (moved.status_code, moved.json()["entry"]["amount"]) == (201, f"-{some}")
    undone = client_of(staff).post(f"{moved.headers['Location']}reversal/", headers={"Idempotency-Key": "undo"})
    assert (undone.status_code, undone.json()["amount"]) == (201, some)
    too_much = ask(client, account, "withdrawals", amount="1000000")
    assert_problem(too_much, 422, "insufficient_funds")
    declined = client.get(f"/api/v1/transactions/{too_much.json()['transaction']}/").json()

    assert declined["amount"] == format_amount(Decimal(1_000_000), currency)
    rest = format_amount(Decimal(whole) - Decimal(some), currency)
    assert client.get(url(account)).json()["balance"] == rest
    listed = {row["id"]: row["balance"] for row in client.get("/api/v1/accounts/").json()["results"]}
    assert listed == {str(account.pk): rest, str(other.pk): format_amount(Decimal(0), currency)}
    lines = client.get(url(account, "transactions")).json()["results"]
    assert [line["amount"] for line in lines] == [some, f"-{some}", f"-{some}", whole]
    assert client.get(moved.headers["Location"]).json()["amount"] == some
    assert client.post(url(other, "close")).json()["status"] == "closed"
    assert_books_balance()


@pytest.mark.parametrize(("currency", "amounts"), WITHDRAWN.items())
def test_it_may_be_named_where_money_moves(client, user, currency, amounts):
    account = AccountFactory(owner=user, currency=currency)
    dollars = AccountFactory(owner=user)

    first, again = (ask(client, account, "deposits", key="k", amount=amounts[0], currency=currency) for _ in range(2))

    assert (first.status_code, again.headers["Idempotent-Replayed"], again.json()) == (201, "true", first.json())
    mismatch = ask(client, dollars, "deposits", amount=amounts[1], currency=currency)
    assert_problem(mismatch, 422, "currency_mismatch")
    declined = client.get(f"/api/v1/transactions/{mismatch.json()['transaction']}/").json()
    assert (declined["amount"], declined["currency"]) == (amounts[1], currency)


@pytest.mark.parametrize(
    ("currency", "amount"), [("HRK", "1.001"), ("HRK", "1.0001"), ("TRL", "1.5"), ("ZZZ", "1.001"), ("ZZZ", "1.0000")]
)
def test_its_decimal_places_are_known(client, user, currency, amount):
    account = AccountFactory(owner=user, currency=currency)
    for named in ({}, {"currency": currency}) if currency != "ZZZ" else ({},):
        problem = assert_problem(ask(client, account, "deposits", amount=amount, **named), 400, "invalid_request")
        assert problem["errors"][0]["code"] == "max_decimal_places"
    assert not Transaction.objects.exists()


@pytest.mark.parametrize("currency", [*WITHDRAWN, *NEVER_THERE])
def test_no_account_is_opened_in_it(client, settings, currency):
    problem = assert_problem(client.post("/api/v1/accounts/", {"currency": currency}), 400, "invalid_request")
    assert [(error["field"], error["code"]) for error in problem["errors"]] == [("currency", "invalid_choice")]

    settings.DEFAULT_CURRENCY = currency
    assert_problem(client.post("/api/v1/accounts/", {}), 400, "invalid_request")
    assert not Account.objects.exists()
    assert [message.id for message in run_checks()] == ["core.E001"]


def test_what_is_stored_is_shown_whole_where_iso_takes_decimal_places_away(client, user):
    """As it did from Iceland's króna and Uganda's shilling."""
    account = AccountFactory(owner=user, currency="JPY")
    deposit(account, "100")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_account SET balance = 100.25 WHERE id = %s", [account.pk])

    assert client.get(url(account)).json()["balance"] == "100.25"


def test_an_account_that_was_opened_under_a_key_is_shown_again_after_the_withdrawal(client, monkeypatch):
    opened = [client.post("/api/v1/accounts/", {"currency": "EUR"}, headers={"Idempotency-Key": "once"})]
    monkeypatch.delitem(currencies.CURRENT, "EUR")

    opened.append(client.post("/api/v1/accounts/", {"currency": "EUR"}, headers={"Idempotency-Key": "once"}))

    assert [answer.status_code for answer in opened] == [201, 201]
    assert opened[1].headers["Idempotent-Replayed"] == "true"
    assert opened[0].json() == opened[1].json()
    new = client.post("/api/v1/accounts/", {"currency": "EUR"}, headers={"Idempotency-Key": "another"})
    assert_problem(new, 400, "invalid_request")
