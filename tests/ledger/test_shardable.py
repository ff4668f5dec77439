"""Distribution by account: the list of keys that cross accounts, and every command on the keys of distributed tables."""

import pytest
from django.db import connection

from apps.ledger import verification
from apps.ledger.errors import AlreadyReversed, InsufficientFunds
from apps.ledger.models import Transaction
from apps.ledger.use_cases.reverse_transaction import ReverseTransaction
from tests.factories import UserFactory, new_idempotency_key
from tests.ledger.constraints import drop_constraints
from tests.ledger.factories import AccountFactory, deposit, transfer, withdraw

# The column by which each table would be distributed.
SHARD_KEYS = {"ledger_account": "id", "ledger_transaction": "account_id", "ledger_entry": "account_id"}
# In a primary or unique key that has more than the shard's column, or in a foreign key that leads to another shard.
CROSSING = {
    "ledger_account (owner_id) references users_user",
    "ledger_transaction (created_by_id) references users_user",
    "ledger_transaction (reverses_id) references ledger_transaction",
    "ledger_entry (transaction_id) references ledger_transaction",
    "ledger_account (owner_id, idempotency_key) is unique",
    "ledger_transaction (id) is unique",
    "ledger_entry (id) is unique",
}
# What Citus asks of the keys of distributed tables, without its own functions.
DISTRIBUTED_KEYS = f"""
    {drop_constraints("foreign key")};
    ALTER TABLE ledger_account DROP CONSTRAINT account_is_created_once_per_key;
    ALTER TABLE ledger_transaction DROP CONSTRAINT ledger_transaction_pkey, ADD PRIMARY KEY (account_id, id);
    ALTER TABLE ledger_entry DROP CONSTRAINT ledger_entry_pkey, ADD PRIMARY KEY (account_id, id);
    ALTER TABLE ledger_transaction
        ADD FOREIGN KEY (account_id) REFERENCES ledger_account (id) DEFERRABLE INITIALLY DEFERRED,
        ADD FOREIGN KEY (account_id, reverses_id) REFERENCES ledger_transaction (account_id, id)
            DEFERRABLE INITIALLY DEFERRED;
    ALTER TABLE ledger_entry
        ADD FOREIGN KEY (account_id) REFERENCES ledger_account (id) DEFERRABLE INITIALLY DEFERRED
"""


def crossing() -> set[str]:
    """List the keys of the ledger's tables that reach beyond one account."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT conrelid::regclass::text, confrelid::regclass::text,
                   ARRAY(SELECT attname::text FROM unnest(conkey) WITH ORDINALITY AS key (number, place)
                         JOIN pg_attribute ON attrelid = conrelid AND attnum = number ORDER BY place),
                   ARRAY(SELECT attname::text FROM unnest(confkey) WITH ORDINALITY AS key (number, place)
                         JOIN pg_attribute ON attrelid = confrelid AND attnum = number ORDER BY place)
            FROM pg_constraint WHERE contype = 'f' AND conrelid::regclass::text = ANY(%(tables)s)
            UNION ALL
            SELECT indrelid::regclass::text, NULL,
                   ARRAY(SELECT attname::text FROM unnest(indkey) WITH ORDINALITY AS key (number, place)
                         JOIN pg_attribute ON attrelid = indrelid AND attnum = number ORDER BY place), NULL
            FROM pg_index WHERE indisunique AND indrelid::regclass::text = ANY(%(tables)s)
            """,
            {"tables": list(SHARD_KEYS)},
        )
        found = set()
        for table, target, columns, referenced in cursor.fetchall():
            if target is None:
                stays = SHARD_KEYS[table] in columns
            else:
                stays = (SHARD_KEYS[table], SHARD_KEYS.get(target)) in zip(columns, referenced, strict=True)
            if not stays:
                found.add(f"{table} ({', '.join(columns)}) " + (f"references {target}" if target else "is unique"))
        return found


@pytest.mark.django_db
def test_what_crosses_accounts_is_what_the_models_note_names():
    assert crossing() == CROSSING


@pytest.fixture
def distributed_keys(db):
    with connection.cursor() as cursor:
        cursor.execute(DISTRIBUTED_KEYS)


@pytest.mark.usefixtures("distributed_keys")
class TestOnTheKeysOfDistributedTables:
    def test_only_users_are_elsewhere(self):
        """The users' keys and the key of an opening are gone, and an entry has no foreign key to its transaction."""
        assert crossing() == set()

    def test_every_command_works_and_the_books_are_right(self, user):
        one, two = (AccountFactory(owner=user, funded="100.00") for _ in range(2))
        key = new_idempotency_key()
        deposit(one, "1.00")
        first = withdraw(one, "2.00", key=key)
        moved = transfer(one, two, "30.00").transaction
        clerk = UserFactory(is_staff=True)

        def reverse() -> None:
            ReverseTransaction(
                actor_id=clerk.pk,
                actor_is_staff=True,
                transaction_id=moved.pk,
                reference="",
                idempotency_key=new_idempotency_key(),
            ).execute()

        assert withdraw(one, "2.00", key=key).transaction == first.transaction
        with pytest.raises(InsufficientFunds):
            withdraw(one, "1000.00")
        reverse()
        with pytest.raises(AlreadyReversed):
            reverse()

        assert {each.kind for each in Transaction.objects.filter(status="posted")} == set(Transaction.Kind)
        # I11 compares the keys with the models'.
        wrong = {result.invariant.id: result for result in verification.check() if result.violations}
        assert wrong.keys() == {"I11"}
        assert [line["kind"] for line in one.entries.order_by("sequence").values("kind")] == [
            *("deposit", "deposit", "withdrawal", "transfer", "reversal")
        ]
