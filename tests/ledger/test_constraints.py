"""Database constraints and triggers: raw SQL that bypasses the code is refused."""

import uuid

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from tests.ledger.factories import deposit, withdraw

pytestmark = pytest.mark.django_db


def refused(sql, parameters=()):
    """Run SQL that must fail, and return the error message."""
    with pytest.raises((IntegrityError, DatabaseError)) as error, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, parameters)
    return str(error.value)


INSERT_TRANSACTION = """
    INSERT INTO ledger_transaction (id, account_id, idempotency_key, kind, status, decline_code, source_id,
                                    destination_id, amount, currency, reference, reverses_id, created_by_id, created_at)
    SELECT gen_random_uuid(), id, %(key)s, %(kind)s, %(status)s, %(decline_code)s, %(source)s, %(destination)s,
           %(amount)s, %(currency)s, '', %(reverses)s, owner_id, now() FROM ledger_account WHERE id = %(account)s
"""


def transaction_row(account, **changes):
    row = {
        "account": account.pk,
        "key": str(uuid.uuid4()),
        "kind": "deposit",
        "status": "posted",
        "decline_code": "",
        "source": None,
        "destination": account.pk,
        "amount": "1.00",
        "currency": "USD",
        "reverses": None,
    }
    return row | changes


class TestAccount:
    @pytest.mark.parametrize(
        ("change", "constraint"),
        [
            ("balance = -0.0001", "account_balance_is_never_negative"),
            ("version = -1", "account_version_is_never_negative"),
            ("status = 'closed', closed_at = now()", "closed_account_is_empty"),
            ("status = 'closed', balance = 0", "account_is_closed_exactly_when_it_has_a_closing_time"),
            ("closed_at = now()", "account_is_closed_exactly_when_it_has_a_closing_time"),
            ("currency = 'us'", "account_currency_is_an_iso_code"),
            ("balance = 1e15", "numeric field overflow"),
        ],
    )
    def test_refuses(self, account, change, constraint):
        assert constraint in refused(f"UPDATE ledger_account SET {change}")


class TestTransaction:
    def test_the_plain_row_is_accepted(self, account):
        with connection.cursor() as cursor:
            cursor.execute(INSERT_TRANSACTION, transaction_row(account))
            assert cursor.rowcount == 1

    @pytest.mark.parametrize(
        ("changes", "constraint"),
        [
            ({"amount": "0"}, "transaction_amount_is_positive"),
            ({"amount": "-1"}, "transaction_amount_is_positive"),
            ({"destination": None}, "transaction_has_a_source_or_a_destination"),
            ({"kind": "withdrawal"}, "transaction_kind_agrees_with_its_sides"),
            ({"kind": "transfer"}, "transaction_kind_agrees_with_its_sides"),
            ({"kind": "gift"}, "transaction_kind_agrees_with_its_sides"),
            ({"kind": "reversal"}, "reversal_exactly_when_it_reverses_a_transaction"),
            ({"status": "declined"}, "declined_exactly_when_there_is_a_decline_code"),
            ({"decline_code": "insufficient_funds"}, "declined_exactly_when_there_is_a_decline_code"),
            ({"status": "perhaps"}, "declined_exactly_when_there_is_a_decline_code"),
            ({"currency": "dollar"}, "value too long"),
            ({"currency": "US"}, "transaction_currency_is_an_iso_code"),
            ({"destination": uuid.uuid4()}, "transaction_touches_the_account_it_was_asked_of"),
        ],
    )
    def test_refuses(self, account, changes, constraint):
        assert constraint in refused(INSERT_TRANSACTION, transaction_row(account, **changes))

    def test_refuses_one_account_on_both_sides(self, account):
        row = transaction_row(account, kind="transfer", source=account.pk)
        assert "transaction_source_and_destination_differ" in refused(INSERT_TRANSACTION, row)

    def test_refuses_a_key_twice(self, account):
        deposit(account, "1.00", key="k")
        row = transaction_row(account, key="k")
        assert "idempotency_key_is_used_once_per_account" in refused(INSERT_TRANSACTION, row)

    def test_refuses_a_second_posted_reversal_but_not_a_declined_one(self, account):
        original = withdraw(account, "1.00").transaction
        reversal = transaction_row(account, kind="reversal", reverses=original.pk)
        with connection.cursor() as cursor:
            cursor.execute(INSERT_TRANSACTION, reversal | {"key": "first"})
            cursor.execute(
                INSERT_TRANSACTION, reversal | {"key": "no", "status": "declined", "decline_code": "already_reversed"}
            )
        assert "transaction_is_reversed_at_most_once" in refused(INSERT_TRANSACTION, reversal | {"key": "second"})


class TestOpening:
    INSERT = """
        INSERT INTO ledger_account (id, owner_id, name, currency, balance, version, status, created_at,
                                    idempotency_key, creation_fingerprint)
        SELECT gen_random_uuid(), owner_id, '', 'USD', 0, 0, 'open', now(), %s, %s FROM ledger_account WHERE id = %s
    """

    def test_refuses_a_key_twice_and_takes_none_as_often_as_it_comes(self, account):
        with connection.cursor() as cursor:
            for key, digest in (("k", "x"), ("l", "x"), (None, None), (None, None)):
                cursor.execute(self.INSERT, [key, digest, account.pk])
        assert "account_is_created_once_per_key" in refused(self.INSERT, ["k", "y", account.pk])

    @pytest.mark.parametrize("row", [("k", None), (None, "x")])
    def test_refuses_a_key_without_its_command(self, account, row):
        constraint = "account_key_comes_with_a_fingerprint"
        assert constraint in refused(self.INSERT, [*row, account.pk])


class TestEntry:
    INSERT = """
        INSERT INTO ledger_entry (
            id, transaction_id, account_id, sequence, kind, amount, balance_after, reference, created_at
        )
        SELECT gen_random_uuid(), transaction_id, {account}, {sequence}, {kind}, {amount}, {balance_after}, '', now()
        FROM ledger_entry WHERE sequence = 1 LIMIT 1
    """

    @pytest.mark.parametrize("change", ["UPDATE ledger_entry SET amount = 2", "DELETE FROM ledger_entry"])
    def test_is_append_only(self, account, change):
        assert "never changed or deleted" in refused(change)

    @pytest.mark.parametrize(
        ("changes", "constraint"),
        [
            ({}, "entry_sequence_is_used_once_per_account"),
            ({"sequence": 2}, "transaction_enters_an_account_once"),
            ({"sequence": 0}, "entry_sequence_starts_at_one"),
            ({"sequence": 2, "amount": 0}, "entry_amount_is_not_zero"),
            ({"sequence": 2, "balance_after": -1}, "entry_balance_is_never_negative"),
            ({"sequence": 2, "kind": "'withdrawal'"}, "entry_kind_agrees_with_its_sign"),
            ({"sequence": 2, "amount": -1}, "entry_kind_agrees_with_its_sign"),
            ({"sequence": 2, "kind": "'refund'"}, "entry_kind_agrees_with_its_sign"),
        ],
    )
    def test_refuses(self, account, changes, constraint):
        row = {"account": "account_id", "sequence": 1, "kind": "kind", "amount": 1, "balance_after": 1} | changes
        assert constraint in refused(self.INSERT.format(**row))
