"""Mutants: plausible wrong versions of the ledger, each of which the tests must detect.

A mutant changes the source of modules while they are imported, or the schema of the test database once it is made; nothing
is written to disk, and apps/ contains no hook for it. `make mutants` tries them all; one by hand, from `make shell`:

    python -m pytest -p tests.ledger.mutants.plugin --mutant=no-row-lock -x tests/ledger
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

QUICK = (
    "tests/ledger/test_withdraw.py",
    "tests/ledger/test_posting.py",
    "tests/ledger/test_api.py",
    "tests/ledger/test_constraints.py",
    "tests/ledger/test_races.py",
    "tests/ledger/test_state_machine.py",
    "tests/ledger/test_faults.py",
)
CONSTRAINTS = ("tests/ledger/test_constraints.py",)
RACES = ("tests/ledger/test_races.py",)
FAULTS = ("tests/ledger/test_faults.py",)

POSTING = "apps.ledger.posting"
POSTING_SQL = "apps.ledger.posting_sql"
MONEY_FIELDS = "apps.core.money.fields"


class NotApplicableError(Exception):
    """The mutant no longer fits the code; until it is repaired it proves nothing."""


@dataclass(frozen=True)
class Edit:
    """A piece of a module's source, and its replacement."""

    module: str
    old: str
    new: str


@dataclass(frozen=True, kw_only=True)
class Mutant:
    name: str
    breaks: str
    edits: tuple[Edit, ...] = ()
    sql: tuple[str, ...] = ()
    tests: tuple[str, ...] = QUICK
    """The tests that must fail: all, or those of the one layer that remains responsible."""

    @property
    def modules(self) -> set[str]:
        return {edit.module for edit in self.edits}

    def source_of(self, module: str) -> str:
        """Return a module's source with this mutant's edits. Raises: NotApplicableError."""
        spec = importlib.util.find_spec(module)
        source = Path(spec.origin).read_text()
        for edit in self.edits:
            if edit.module == module:
                if source.count(edit.old) != 1:
                    raise NotApplicableError(
                        f"{self.name}: {module} has {source.count(edit.old)} places to change, not one:\n{edit.old}"
                    )
                source = source.replace(edit.old, edit.new)
        return source


def posting(old: str, new: str = "") -> Edit:
    return Edit(POSTING, old, new)


def posting_sql(old: str, new: str = "") -> Edit:
    return Edit(POSTING_SQL, old, new)


def instead_of_the_statement(function: str) -> Edit:
    """Run a function of tests.ledger.mutants.substitutes in place of the posting statement."""
    call = (
        f"        from tests.ledger.mutants.substitutes import {function}\n        rows = {function}(command, *ids)\n"
    )
    return posting("        rows = _execute(command, *ids)\n", call)


NO_COVER_GUARD = posting_sql("            WHEN source.balance < %(amount)s THEN 'insufficient_funds'\n")
NO_BALANCE_CHECK = "ALTER TABLE ledger_account DROP CONSTRAINT account_balance_is_never_negative"
NO_ENTRY_BALANCE_CHECK = "ALTER TABLE ledger_entry DROP CONSTRAINT entry_balance_is_never_negative"
NO_REVERSAL_GUARD = posting_sql(
    """            WHEN EXISTS (
                SELECT 1 FROM ledger_transaction
                WHERE account_id = %(account)s::uuid AND reverses_id = original.id AND status = 'posted'
            ) THEN 'already_reversed'
"""
)
NO_REVERSAL_INDEX = "DROP INDEX transaction_is_reversed_at_most_once"
NO_SEQUENCE_INDEX = "DROP INDEX entry_sequence_is_used_once_per_account"

MUTANTS = (
    # --- Cover and limits ---
    Mutant(name="no-cover-guard", breaks="the verdict does not look at the balance", edits=(NO_COVER_GUARD,)),
    Mutant(
        name="no-balance-check",
        breaks="the database lets a balance be negative",
        sql=(NO_BALANCE_CHECK,),
        tests=CONSTRAINTS,
    ),
    Mutant(
        name="no-entry-balance-check",
        breaks="the database lets an entry's balance be negative",
        sql=(NO_ENTRY_BALANCE_CHECK,),
        tests=CONSTRAINTS,
    ),
    Mutant(
        name="no-cover-at-all",
        breaks="neither the verdict nor the database prevents an overdraft",
        edits=(NO_COVER_GUARD,),
        sql=(NO_BALANCE_CHECK, NO_ENTRY_BALANCE_CHECK),
    ),
    Mutant(
        name="cover-off-by-one",
        breaks="the last cent cannot be paid out",
        edits=(posting_sql("source.balance < %(amount)s", "source.balance <= %(amount)s"),),
    ),
    Mutant(
        name="largest-amount-off-by-one",
        breaks="the largest amount is refused",
        edits=(
            Edit(MONEY_FIELDS, "amount > settings.MAX_AMOUNT", "amount >= settings.MAX_AMOUNT"),
            Edit("apps.ledger.serializers", "amount <= settings.MAX_AMOUNT", "amount < settings.MAX_AMOUNT"),
        ),
    ),
    Mutant(
        name="largest-balance-off-by-one",
        breaks="the largest balance is refused",
        edits=(posting_sql("+ %(amount)s > %(max_balance)s", "+ %(amount)s >= %(max_balance)s"),),
    ),
    Mutant(
        name="no-largest-balance",
        breaks="only the column limits a balance, so the refusal is not recorded",
        edits=(
            posting_sql(
                "            WHEN destination.balance + %(amount)s > %(max_balance)s THEN 'balance_limit_exceeded'\n"
            ),
        ),
    ),
    Mutant(
        name="overflow-is-a-bug",
        breaks="a number too large for its column is a 500",
        edits=(posting("isinstance(error.__cause__, postgres.NumericValueOutOfRange)", "False"),),
        tests=FAULTS,
    ),
    # --- Amounts ---
    Mutant(
        name="rounds-what-is-written",
        breaks="more places than any currency has are rounded",
        edits=(
            Edit(
                MONEY_FIELDS,
                '            self.fail("max_decimal_places")\n',
                "            amount = round(amount, MAX_EXPONENT)\n",
            ),
        ),
    ),
    Mutant(
        name="rounds-to-the-named-currency",
        breaks="an amount too fine for the currency that was named is rounded",
        edits=(
            Edit(
                "apps.ledger.serializers",
                '            ensure_exact(attrs["amount"], attrs["currency"])\n',
                '            attrs["amount"] = round(attrs["amount"], 2)\n',
            ),
        ),
    ),
    Mutant(
        name="takes-too-fine-amounts",
        breaks="an amount too fine for the account's currency is posted, and shown rounded",
        edits=(posting('"places": decimal_places(command.amount)', '"places": 0'),),
    ),
    # --- Where money goes ---
    Mutant(
        name="credits-the-payer",
        breaks="the payer's leg has the wrong sign",
        edits=(posting_sql("%(source)s::uuid, -%(amount)s::numeric", "%(source)s::uuid, %(amount)s::numeric"),),
    ),
    Mutant(
        name="forgets-the-payee",
        breaks="a transfer arrives nowhere",
        edits=(
            posting_sql(
                "JOIN locked ON locked.id = leg.account_id\n",
                "JOIN locked ON locked.id = leg.account_id AND (leg.amount < 0 OR %(source)s::uuid IS NULL)\n",
            ),
        ),
    ),
    Mutant(
        name="closed-accounts-receive",
        breaks="money can be paid into a closed account",
        edits=(posting_sql("source.status = 'closed' OR destination.status = 'closed'", "source.status = 'closed'"),),
    ),
    Mutant(
        name="closed-accounts-hold-money",
        breaks="the database lets a closed account hold money",
        sql=("ALTER TABLE ledger_account DROP CONSTRAINT closed_account_is_empty",),
        tests=CONSTRAINTS,
    ),
    Mutant(
        name="converts-named-currencies",
        breaks="the currency that was named is not compared with the account's",
        edits=(posting_sql("account.currency <> %(currency)s::text OR source", "source"),),
    ),
    Mutant(
        name="converts-transfers",
        breaks="the currencies of two accounts are not compared",
        edits=(posting_sql(" OR source.currency <> destination.currency\n", "\n"),),
    ),
    Mutant(
        name="sequence-stands-still",
        breaks="an entry does not count",
        edits=(posting_sql("locked.version + 1 AS sequence", "locked.version AS sequence"),),
    ),
    # --- Who ---
    Mutant(
        name="anybodys-account",
        breaks="any user who has an account's id can empty it",
        edits=(
            posting_sql(
                """
      AND (%(owner)s::uuid IS NULL OR EXISTS (
          SELECT 1 FROM ledger_account WHERE id = %(account)s::uuid AND owner_id = %(owner)s::uuid))"""
            ),
        ),
    ),
    Mutant(
        name="anybody-reverses",
        breaks="customers can undo their own payments",
        edits=(Edit("apps.ledger.use_cases.reverse_transaction", "if not self.actor_is_staff:\n", "if False:\n"),),
    ),
    # --- Once ---
    Mutant(
        name="no-key-index",
        breaks="the database lets a key be used twice",
        sql=("DROP INDEX idempotency_key_is_used_once_per_account",),
        tests=CONSTRAINTS,
    ),
    Mutant(
        name="no-key-index-in-races",
        breaks="the same, seen from outside: equal requests at once are all served",
        sql=("DROP INDEX idempotency_key_is_used_once_per_account",),
        tests=(f"{RACES[0]}::TestOneAccount::test_fifty_equal_requests_with_one_key_have_one_effect_and_one_answer",),
    ),
    Mutant(
        name="no-replay-after-a-lost-race",
        breaks="the key is looked up only where the snapshot may miss it",
        edits=(
            posting(
                """        case "idempotency_key_is_used_once_per_account":
            return _replay(command)
"""
            ),
        ),
    ),
    Mutant(
        name="replays-anything",
        breaks="a key replays its answer for any command",
        edits=(posting("if not _is_the_same(command, stored):", "if False:"),),
    ),
    Mutant(
        name="replays-other-references",
        breaks="a key replays its answer for a command with another reference",
        edits=(posting("        and stored.reference == command.reference\n"),),
    ),
    Mutant(
        name="forgets-declines",
        breaks="a refusal is not recorded, so a late repeat may pay",
        edits=(
            posting_sql(
                "WHERE NOT (key_is_used OR destination_is_missing OR amount_is_inexact)\n",
                "WHERE decline_code = '' AND NOT (key_is_used OR destination_is_missing OR amount_is_inexact)\n",
            ),
        ),
    ),
    Mutant(
        name="key-apart-from-effect",
        breaks="the key commits first and the money in a second transaction",
        edits=(instead_of_the_statement("key_first_then_money"),),
        tests=FAULTS,
    ),
    Mutant(
        name="no-reversal-guard",
        breaks="only the unique index prevents a second reversal",
        edits=(NO_REVERSAL_GUARD,),
    ),
    Mutant(
        name="no-reversal-index",
        breaks="the database lets a transaction be reversed twice",
        sql=(NO_REVERSAL_INDEX,),
        tests=CONSTRAINTS,
    ),
    Mutant(
        name="reverses-twice",
        breaks="neither the verdict nor the database prevents a second reversal",
        edits=(NO_REVERSAL_GUARD,),
        sql=(NO_REVERSAL_INDEX,),
    ),
    Mutant(
        name="entries-can-change",
        breaks="history can be edited",
        sql=("DROP TRIGGER ledger_entry_is_append_only ON ledger_entry",),
        tests=CONSTRAINTS,
    ),
    # --- At once ---
    Mutant(
        name="no-row-lock",
        breaks="the verdict is reached on rows that another command is changing",
        edits=(posting_sql("\n    FOR NO KEY UPDATE OF account\n", "\n"),),
    ),
    Mutant(
        name="source-first-locks",
        breaks="two opposing transfers lock each other out",
        edits=(posting_sql("    ORDER BY account.id\n", "    ORDER BY account.id <> %(source)s::uuid\n"),),
    ),
    Mutant(
        name="snapshot-balances",
        breaks="new balances are worked out from the snapshot's row, not the locked one's",
        edits=(posting_sql("SET balance = legs.balance_after,", "SET balance = account.balance + legs.amount,"),),
    ),
    Mutant(
        name="naive",
        breaks="read, subtract, save, insert: the naive implementation",
        edits=(instead_of_the_statement("read_subtract_save"),),
        tests=RACES,
    ),
    Mutant(
        name="naive-and-unguarded",
        breaks="the same, and the database allows two entries with one number",
        edits=(instead_of_the_statement("read_subtract_save"),),
        sql=(NO_SEQUENCE_INDEX,),
        tests=RACES,
    ),
    Mutant(
        name="closes-unlocked",
        breaks="an account is closed while money is on its way",
        edits=(Edit("apps.ledger.use_cases.close_account", ".select_for_update(no_key=True)", ""),),
    ),
    Mutant(
        name="renames-unlocked",
        breaks="an account is renamed although money has moved since its entity tag was compared",
        edits=(Edit("apps.ledger.use_cases.rename_account", ".select_for_update(no_key=True)", ""),),
    ),
    Mutant(
        name="rename-writes-all",
        breaks="a renaming writes every column back, the balance too, as the application may not",
        edits=(
            Edit("apps.ledger.use_cases.rename_account", 'save(update_fields=["name"])', "save()"),
            Edit("apps.ledger.use_cases.rename_account", ".select_for_update(no_key=True)", ""),
        ),
    ),
    Mutant(
        name="no-opening-key-constraint",
        breaks="equal requests at once each open an account",
        sql=("ALTER TABLE ledger_account DROP CONSTRAINT account_is_created_once_per_key",),
    ),
    Mutant(
        name="no-mark",
        breaks="a running key leaves no mark",
        edits=(
            posting_sql(
                "    SELECT {MARK}\n",
                "    SELECT true\n",
            ),
        ),
    ),
    Mutant(
        name="gives-up-at-once",
        breaks="a serialization failure or a deadlock is not tried again",
        edits=(Edit("apps.core.contention", "MAX_TRIES: Final = 5\n", "MAX_TRIES: Final = 1\n"),),
    ),
)
