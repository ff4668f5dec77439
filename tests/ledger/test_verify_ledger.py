"""verify_ledger: every kind of corruption is found, and correct books pass."""

import json
import os
import subprocess
import sys
import threading
import uuid
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection

from apps.ledger import invariants, verification
from apps.ledger.errors import AlreadyReversed, InsufficientFunds
from apps.ledger.models import Account, Entry, Transaction
from apps.ledger.use_cases.reverse_transaction import ReverseTransaction
from tests.factories import UserFactory, new_idempotency_key
from tests.ledger.constraints import drop_constraints
from tests.ledger.factories import AccountFactory, deposit, transfer, withdraw
from tests.support.databases import database_url
from tests.support.paths import ROOT

COPY_OF_A_TRANSACTION = """
    INSERT INTO ledger_transaction
    SELECT (jsonb_populate_record(original, jsonb_build_object('id', gen_random_uuid()) || {changes})).*
    FROM ledger_transaction AS original WHERE {of}
"""


@pytest.fixture
def books(user) -> list[Account]:
    """Books with every kind of transaction, made through the use cases."""
    one, two = (AccountFactory(owner=user, funded="100.00") for _ in range(2))
    yen = AccountFactory(currency="JPY", funded="5000")
    moved = transfer(one, two, "30.00").transaction
    withdraw(two, "0.01")
    withdraw(yen, "5000")
    clerk = UserFactory(is_staff=True)
    reversal = {"actor_id": clerk.pk, "actor_is_staff": True, "transaction_id": moved.pk, "reference": ""}
    ReverseTransaction(**reversal, idempotency_key=new_idempotency_key()).execute()
    with pytest.raises(AlreadyReversed):
        ReverseTransaction(**reversal, idempotency_key=new_idempotency_key()).execute()
    for account, amount in ((one, "1000.00"), (yen, "1")):
        with pytest.raises(InsufficientFunds):
            withdraw(account, amount)
    AccountFactory(owner=user, shut=True)
    gone = AccountFactory(owner=user, funded="1.00")
    withdraw(gone, "1.00")
    AccountFactory.shut.function(gone, True, True)
    return [one, two, yen, gone]


def broken() -> dict[str, verification.InvariantResult]:
    return {result.invariant.id: result for result in verification.check() if result.violations}


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        # What is still to be checked at the commit would bar the way to ALTER TABLE.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for statement in statements:
            cursor.execute(statement)


TRIGGER_OFF = "ALTER TABLE ledger_entry DISABLE TRIGGER ledger_entry_is_append_only"
TRIGGER_ON = "ALTER TABLE ledger_entry ENABLE TRIGGER ledger_entry_is_append_only"
NO_CHECKS = drop_constraints("check")
CORRUPTIONS = {
    "a balance that nobody paid in": ("I1", ["UPDATE ledger_account SET balance = balance + 1 WHERE balance > 0"]),
    "an entry with another balance": (
        "I2",
        [TRIGGER_OFF, "UPDATE ledger_entry SET balance_after = balance_after + 1 WHERE sequence = 1", TRIGGER_ON],
    ),
    "a version without an entry": ("I3", ["UPDATE ledger_account SET version = version + 1 WHERE balance > 0"]),
    "a gap in the sequence": (
        "I3",
        [TRIGGER_OFF, "UPDATE ledger_entry SET sequence = sequence + 10 WHERE sequence > 1", TRIGGER_ON],
    ),
    "an entry that is gone": (
        "I3",
        [TRIGGER_OFF, "DELETE FROM ledger_entry WHERE sequence = 1", TRIGGER_ON],
    ),
    "a negative balance": ("I4", [NO_CHECKS, "UPDATE ledger_account SET balance = -balance WHERE balance > 0"]),
    "a balance that was negative once": (
        "I4",
        [
            NO_CHECKS,
            TRIGGER_OFF,
            "UPDATE ledger_entry SET balance_after = -balance_after WHERE sequence = 1",
            TRIGGER_ON,
        ],
    ),
    "an amount that is not its transaction's": ("I5", ["UPDATE ledger_transaction SET amount = amount + 1"]),
    "one leg of two": (
        "I5",
        [
            TRIGGER_OFF,
            """DELETE FROM ledger_entry WHERE amount > 0 AND transaction_id IN
               (SELECT id FROM ledger_transaction WHERE kind = 'transfer')""",
            TRIGGER_ON,
        ],
    ),
    "a leg of the wrong sign": (
        "I5",
        [NO_CHECKS, TRIGGER_OFF, "UPDATE ledger_entry SET amount = -amount WHERE sequence = 1", TRIGGER_ON],
    ),
    "a reversal of another amount": ("I5", ["UPDATE ledger_transaction SET amount = 1 WHERE kind = 'reversal'"]),
    "a declined transaction that moved money": (
        "I6",
        ["UPDATE ledger_transaction SET status = 'declined', decline_code = 'account_closed' WHERE kind = 'transfer'"],
    ),
    "a decline without a reason": (
        "I6",
        [NO_CHECKS, "UPDATE ledger_transaction SET decline_code = '' WHERE status = 'declined'"],
    ),
    "money from nowhere": ("I7", ["UPDATE ledger_account SET balance = balance + 0.0001 WHERE balance > 0"]),
    "another currency": ("I8", ["UPDATE ledger_account SET currency = 'EUR' WHERE currency = 'USD'"]),
    "an entry of another kind": (
        "I8",
        [
            TRIGGER_OFF,
            "UPDATE ledger_entry SET kind = 'transfer' WHERE kind = 'withdrawal'",
            TRIGGER_ON,
        ],
    ),
    "an entry with another reference": (
        "I8",
        [TRIGGER_OFF, "UPDATE ledger_entry SET reference = 'rent' WHERE sequence = 1", TRIGGER_ON],
    ),
    "a transaction of a stranger's account": (
        "I8",
        [NO_CHECKS, "UPDATE ledger_transaction SET destination_id = gen_random_uuid() WHERE kind = 'deposit'"],
    ),
    "a key used twice": (
        "I9",
        [
            "DROP INDEX idempotency_key_is_used_once_per_account",
            COPY_OF_A_TRANSACTION.format(changes="'{}'::jsonb", of="status = 'declined'"),
        ],
    ),
    "a transaction reversed twice": (
        "I9",
        [
            "DROP INDEX transaction_is_reversed_at_most_once",
            COPY_OF_A_TRANSACTION.format(
                changes='\'{"idempotency_key": "again"}\'::jsonb', of="kind = 'reversal' AND status = 'posted'"
            ),
        ],
    ),
    "a closed account with money": (
        "I10",
        [NO_CHECKS, "UPDATE ledger_account SET balance = 1 WHERE status = 'closed'"],
    ),
    "an entry after the closing": (
        "I10",
        ["UPDATE ledger_account SET closed_at = created_at WHERE status = 'closed' AND version > 0"],
    ),
    "a CHECK that is gone": ("I11", ["ALTER TABLE ledger_account DROP CONSTRAINT closed_account_is_empty"]),
    "a CHECK that old rows were spared": (
        "I11",
        [
            "ALTER TABLE ledger_account DROP CONSTRAINT closed_account_is_empty",
            """ALTER TABLE ledger_account ADD CONSTRAINT closed_account_is_empty
               CHECK (status = 'open' OR balance = 0) NOT VALID""",
        ],
    ),
    "a unique index that is gone": ("I11", ["DROP INDEX idempotency_key_is_used_once_per_account"]),
    "a unique index that is not unique": (
        "I11",
        [
            "DROP INDEX transaction_is_reversed_at_most_once",
            "CREATE INDEX transaction_is_reversed_at_most_once ON ledger_transaction (account_id, reverses_id)",
        ],
    ),
    "a foreign key that is gone": (
        "I11",
        [
            """
            DO $$ DECLARE of record; BEGIN
                FOR of IN SELECT conname FROM pg_constraint
                          WHERE contype = 'f' AND conrelid = 'ledger_entry'::regclass LOOP
                    EXECUTE format('ALTER TABLE ledger_entry DROP CONSTRAINT %I', of.conname);
                END LOOP;
            END $$
            """
        ],
    ),
    "a trigger that is off": ("I11", [TRIGGER_OFF]),
    "a trigger that is gone": ("I11", ["DROP TRIGGER ledger_entry_is_append_only ON ledger_entry"]),
    "a trigger that lets rows be deleted": (
        "I11",
        [
            "DROP TRIGGER ledger_entry_is_append_only ON ledger_entry",
            """CREATE TRIGGER ledger_entry_is_append_only BEFORE UPDATE ON ledger_entry
               FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change_of_entry()""",
        ],
    ),
}


@pytest.mark.django_db
class TestCheck:
    def test_true_books_pass(self, books):
        assert Transaction.objects.filter(status="declined").count() == 3
        assert broken() == {}

    def test_no_books_are_true(self):
        assert broken() == {}

    @pytest.mark.parametrize("corruption", CORRUPTIONS)
    def test_finds(self, books, corruption):
        invariant, statements = CORRUPTIONS[corruption]

        run(*statements)

        found = broken()
        assert invariant in found, found
        assert found[invariant].violations >= 1
        for example in (found[invariant].first, found[invariant].worst):
            assert example["subject"]
            assert example["detail"]

    def test_every_invariant_has_a_lie_of_its_own(self):
        assert {invariant for invariant, _ in CORRUPTIONS.values()} == {each.id for each in invariants.INVARIANTS}

    def test_gives_the_earliest_and_the_largest(self, books):
        one, two, yen, _ = books
        run(
            f"UPDATE ledger_account SET balance = balance + 1 WHERE id IN ('{one.pk}', '{two.pk}')",
            f"UPDATE ledger_account SET balance = balance + 500 WHERE id = '{yen.pk}'",
        )

        found = broken()["I1"]

        assert found.violations == 3
        assert (found.first["subject"], found.worst["subject"]) == (str(one.pk), str(yen.pk))
        assert found.worst["detail"] == "balance 500.0000, entries sum to 0.0000"

    def test_looks_at_one_account_if_asked_to(self, books):
        one, two, *_ = books
        run(f"UPDATE ledger_account SET balance = balance + 1 WHERE id = '{one.pk}'")

        of_one, of_two = (list(verification.check([account.pk])) for account in (one, two))

        assert [result.invariant.id for result in of_one if result.violations] == ["I1"]
        assert not [result for result in of_two if result.violations]
        assert [result.invariant.id for result in of_two if result.is_skipped] == ["I7"]


@pytest.mark.django_db(transaction=True)
class TestSnapshot:
    def test_sees_one_moment(self, books):
        def elsewhere():
            deposit(books[0], "1.00")
            connection.close()

        with verification.snapshot():
            before = Transaction.objects.count()
            other = threading.Thread(target=elsewhere)
            other.start()
            other.join()
            assert broken() == {}
            assert Transaction.objects.count() == before

        assert Transaction.objects.count() == before + 1

    def test_cannot_write(self, books):
        with pytest.raises(DatabaseError, match="read-only"), verification.snapshot():
            run("UPDATE ledger_account SET balance = 0")


def verify(*arguments: str) -> str:
    out = StringIO()
    call_command("verify_ledger", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.django_db(transaction=True)
class TestCommand:
    def test_says_that_all_is_true(self, books):
        said = verify()

        assert said.count(" OK\n") == 12
        rows = (Account.objects.count(), Transaction.objects.count(), Entry.objects.count())
        assert "{} accounts, {} transactions, {} entries in ".format(*rows) in said
        assert said.endswith(" s: OK\n")

    def test_names_the_lie_and_fails(self, books):
        run(f"UPDATE ledger_account SET balance = balance + 1 WHERE id = '{books[0].pk}'")
        out = StringIO()

        with pytest.raises(CommandError, match="2 of 11") as failure:
            call_command("verify_ledger", stdout=out)

        assert failure.value.returncode == 1
        assert "I1 Each balance is the sum of its account's entries. FAILED, 1 violations" in out.getvalue()
        assert f"first: {books[0].pk}: balance 101.0000, entries sum to 100.0000" in out.getvalue()
        assert "I7 " in out.getvalue()
        assert out.getvalue().endswith(" s: FAILED, 2 of 11 invariants are violated\n")

    def test_speaks_json(self, books):
        said = json.loads(verify("--format=json"))

        assert (said["ok"], said["accounts"], len(said["invariants"])) == (True, Account.objects.count(), 11)
        assert said["invariants"][0] == {
            "id": "I1",
            "invariant": "Each balance is the sum of its account's entries.",
            "checked": True,
            "violations": 0,
            "first": None,
            "worst": None,
        }

    def test_checks_some_accounts(self, books):
        said = json.loads(verify("--format=json", f"--account={books[0].pk}", f"--account={books[1].pk}"))

        assert (said["accounts"], [i["id"] for i in said["invariants"] if not i["checked"]]) == (2, ["I7"])

    @pytest.mark.parametrize("account", ["nonsense", str(uuid.UUID(int=1))])
    def test_a_question_about_no_account_is_another_failure(self, account):
        with pytest.raises(CommandError, match=account) as failure:
            verify(f"--account={account}")

        assert failure.value.returncode == 2

    @pytest.mark.parametrize(("corruption", "code"), [(False, 0), (True, 1)])
    def test_a_shell_sees_it_in_the_exit_code(self, books, corruption, code):
        if corruption:
            run(f"UPDATE ledger_account SET balance = balance + 1 WHERE id = '{books[0].pk}'")
        environment = os.environ | {"TEST_DATABASE_URL": database_url()}  # noqa: TID251  the child's is ours with one changed
        environment["DJANGO_SETTINGS_MODULE"] = "config.settings.test"

        done = subprocess.run(
            [sys.executable, "manage.py", "verify_ledger", "--format=json"],
            cwd=ROOT,
            env=environment,
            text=True,
            capture_output=True,
            check=False,
        )

        assert (done.returncode, json.loads(done.stdout)["ok"]) == (code, not corruption)
