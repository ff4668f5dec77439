"""Posting: retries after serialization failures and deadlocks, exact amounts, and no open transaction."""

import pytest
from django.db import IntegrityError, OperationalError, transaction
from psycopg import errors as postgres

from apps.core.contention import Contention
from apps.core.errors import InvalidField
from apps.ledger import posting
from apps.ledger.models import Account, Transaction
from tests.ledger.factories import AccountFactory, deposit, withdraw


def failing(times, cause, monkeypatch):
    """Make the posting statement fail this many times before it is sent, as the driver would."""
    real, calls = posting._execute, []

    def execute(*args):
        calls.append(args)
        if len(calls) <= times:
            error = OperationalError("injected")
            error.__cause__ = cause
            raise error
        return real(*args)

    monkeypatch.setattr(posting, "_execute", execute)
    return calls


@pytest.mark.django_db
class TestRetries:
    @pytest.mark.parametrize("cause", [postgres.SerializationFailure(), postgres.DeadlockDetected()])
    def test_runs_again_until_it_is_let_through(self, account, cause, monkeypatch):
        calls = failing(4, cause, monkeypatch)

        assert withdraw(account, "1.00").entry.balance_after == 99

        assert len(calls) == 5

    def test_gives_up_after_five_tries_and_writes_nothing(self, account, monkeypatch):
        calls = failing(99, postgres.SerializationFailure(), monkeypatch)

        with pytest.raises(Contention):
            withdraw(account, "1.00")

        assert len(calls) == 5
        assert Transaction.objects.count() == 1

    @pytest.mark.parametrize("cause", [postgres.QueryCanceled(), postgres.AdminShutdown(), None])
    def test_leaves_other_failures_to_the_client_and_its_key(self, account, cause, monkeypatch):
        calls = failing(1, cause, monkeypatch)

        with pytest.raises(OperationalError):
            withdraw(account, "1.00")

        assert len(calls) == 1

    def test_does_not_hide_a_broken_law(self, account, monkeypatch):
        monkeypatch.setattr(posting, "POSTING_SQL", posting.POSTING_SQL.replace("source.balance < %(amount)s", "false"))

        # The savepoint keeps the test's own transaction usable; post() itself would refuse to run inside one.
        monkeypatch.setattr(posting, "_require_autocommit", lambda: None)

        with pytest.raises(IntegrityError, match="account_balance_is_never_negative"), transaction.atomic():
            withdraw(account, "100.01")


@pytest.mark.django_db
class TestAmounts:
    @pytest.mark.parametrize(("currency", "amount"), [("USD", "1.001"), ("JPY", "1.0"), ("KWD", "1.0001")])
    def test_finer_than_the_accounts_currency_is_refused_and_not_recorded(self, currency, amount):
        account = AccountFactory(currency=currency)

        with pytest.raises(InvalidField) as refusal:
            deposit(account, amount)

        assert refusal.value.field_errors[0].code == "max_decimal_places"
        assert not Transaction.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_refuses_to_run_inside_a_transaction():
    account = AccountFactory()

    with pytest.raises(RuntimeError, match="atomic"), transaction.atomic():
        deposit(account, "1.00")

    assert Account.objects.get().balance == 0


def test_the_driver_remembers_what_it_has_made_of_the_statement():
    """Of a longer one psycopg remembers nothing, and takes it apart at each use."""
    assert len(posting.POSTING_SQL.encode()) < 4096
