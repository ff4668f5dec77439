"""Example data: seeded, in bulk, with books that balance."""

import time

import pytest
from django.core.management import call_command

from apps.ledger.models import Account, Entry, Transaction
from apps.users.models import User
from tests.ledger.assertions import assert_books_balance
from tests.ledger.requests import url
from tests.support.api import bearer, log_in
from tests.support.scale import sizes

pytestmark = pytest.mark.django_db


def test_the_books_balance_and_the_customers_can_log_in(capsys):
    call_command("populate", seed=7, users=5, rows=500)

    assert Transaction.objects.count() == 500
    assert Transaction.objects.filter(status="declined").exists()
    assert_books_balance()
    password = capsys.readouterr().out.rpartition(": ")[2].strip()
    client = bearer(log_in("demo-7-1", password).json()["token"])
    account = Account.objects.filter(owner__username="demo-7-1").first()
    assert client.get(url(account, "transactions")).status_code == 200


def test_a_seed_makes_the_same_amounts_and_makes_them_once(capsys):
    call_command("populate", seed=1, users=2, rows=50)
    first = list(Transaction.objects.order_by("created_at").values_list("kind", "amount"))
    call_command("populate", seed=1, users=2, rows=50)

    assert "already" in capsys.readouterr().out
    assert list(Transaction.objects.order_by("created_at").values_list("kind", "amount")) == first
    call_command("populate", seed=2, users=2, rows=50)
    assert User.objects.count() == 4


# In a transaction of its own: the one that pytest wraps round a test would idle for too long.
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("count", sizes(quick=3_000, long=100_000))
def test_many_transactions(capsys, count):
    started = time.monotonic()

    call_command("populate", seed=3, users=100, rows=count)

    print(f"populate: {count:,} transactions in {time.monotonic() - started:.1f} s, {Entry.objects.count()} entries")
    assert Transaction.objects.count() == count
