"""Withdrawals: balance, cover, declines and replays."""

import pytest

from apps.core.errors import NotFound
from apps.core.idempotency import IdempotencyKeyReused
from apps.ledger.errors import AccountClosed, CurrencyMismatch, InsufficientFunds
from apps.ledger.models import Transaction
from tests.factories import UserFactory
from tests.ledger.factories import AccountFactory, deposit, withdraw

pytestmark = pytest.mark.django_db


class TestWithdraw:
    def test_takes_the_amount_off_the_balance(self, account):
        receipt = withdraw(account, "25.00")

        account.refresh_from_db()
        assert account.balance == 75
        assert receipt.entry.amount == -25
        assert receipt.entry.balance_after == 75
        assert receipt.entry.sequence == account.version == 2

    def test_pays_out_the_last_cent(self, account):
        withdraw(account, "100.00")

        account.refresh_from_db()
        assert account.balance == 0

    def test_refuses_a_cent_more_than_the_balance_and_records_the_refusal(self, account):
        with pytest.raises(InsufficientFunds) as refusal:
            withdraw(account, "100.01")

        declined = Transaction.objects.get(pk=refusal.value.transaction_id)
        assert declined.status == "declined"
        assert declined.decline_code == "insufficient_funds"
        assert not declined.entries.exists()
        account.refresh_from_db()
        assert (account.balance, account.version) == (100, 1)

    def test_served_twice_with_one_key_pays_out_once(self, account):
        first = withdraw(account, "25.00", key="rent")
        second = withdraw(account, "25.0", key="rent", currency="USD")

        assert (first.replayed, second.replayed) == (False, True)
        assert first.transaction == second.transaction
        account.refresh_from_db()
        assert account.balance == 75

    def test_refuses_the_key_of_another_command(self, account):
        withdraw(account, "25.00", key="rent")

        for other in ({"amount": "25.01"}, {"reference": "two"}, {"currency": "EUR"}):
            with pytest.raises(IdempotencyKeyReused):
                withdraw(account, **({"amount": "25.00", "key": "rent"} | other))
        with pytest.raises(IdempotencyKeyReused):
            deposit(account, "25.00", key="rent")

    def test_repeats_a_refusal_even_after_money_came_in(self, account):
        with pytest.raises(InsufficientFunds) as first:
            withdraw(account, "150.00", key="car")
        deposit(account, "100.00")

        with pytest.raises(InsufficientFunds) as second:
            withdraw(account, "150.00", key="car")

        assert second.value.replayed
        assert second.value.transaction_id == first.value.transaction_id
        assert withdraw(account, "150.00", key="car, again").entry.balance_after == 50

    def test_refuses_another_currency(self, account):
        with pytest.raises(CurrencyMismatch):
            withdraw(account, "1.00", currency="EUR")

    def test_refuses_a_closed_account(self):
        with pytest.raises(AccountClosed):
            withdraw(AccountFactory(shut=True), "1.00")

    def test_does_not_find_the_account_of_another(self, account):
        with pytest.raises(NotFound):
            withdraw(account, "1.00", actor_id=UserFactory().pk)

        assert Transaction.objects.count() == 1
