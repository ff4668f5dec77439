"""Example data: a history of new accounts that is computed in memory, and its bulk insert.

The one exception to the rule that only `posting` writes: thousands of transactions by COPY take the time of a few by `post`.
"""

import random
from collections.abc import Iterable, Iterator
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from django.db import connection
from django.utils import timezone
from uuid_utils.compat import uuid7

from apps.ledger.models import Account, Entry, Transaction

HISTORY = timedelta(days=90)


class ExampleHistory:
    """A random history of new accounts, computed in memory and not saved; two accounts for each owner.

    Promises what `verify_ledger` checks: balances are the sums of their entries and never negative, sequences have no gaps,
    and a withdrawal or transfer without cover is declined and has no entries. The same random generator gives the same
    kinds, amounts and accounts; ids, keys and times differ.

    expected: the number of transactions over which 90 days are spread; an iteration adds one at each step.
    """

    def __init__(self, rng: random.Random, owner_ids: list[UUID], expected: int) -> None:
        self.rng = rng
        self.now = timezone.now() - HISTORY
        self.expected = expected
        self.step = HISTORY / max(1, expected)
        self.accounts = [
            Account(owner_id=owner_id, name=name, currency="USD", created_at=self.now, balance=Decimal(0))
            for owner_id in owner_ids
            for name in ("Everyday", "Savings")
        ]
        self.transactions: list[Transaction] = []
        self.entries: list[Entry] = []

    def __iter__(self) -> Iterator[None]:
        for _ in range(self.expected):
            self.add_transaction()
            yield

    def __str__(self) -> str:
        return f"{len(self.accounts)} accounts, {len(self.transactions)} transactions, {len(self.entries)} entries"

    def save(self) -> None:
        """Insert all of it."""
        bulk_load(accounts=self.accounts, transactions=self.transactions, entries=self.entries)

    def add_transaction(self) -> None:
        """Add one transaction; it is declined where the payer's balance does not cover it."""
        self.now += self.step
        account, other = self.rng.sample(self.accounts, 2)
        amount = Decimal(self.rng.randint(1, 50_000)) / 100
        kind = self.rng.choices(
            [Transaction.Kind.DEPOSIT, Transaction.Kind.WITHDRAWAL, Transaction.Kind.TRANSFER], weights=[5, 3, 4]
        )[0]
        source = None if kind == Transaction.Kind.DEPOSIT else account
        destination = {Transaction.Kind.DEPOSIT: account, Transaction.Kind.TRANSFER: other}.get(kind)
        declined = source is not None and source.balance < amount
        transaction = Transaction(
            account=account,
            idempotency_key=str(uuid7()),
            kind=kind,
            status=Transaction.Status.DECLINED if declined else Transaction.Status.POSTED,
            decline_code="insufficient_funds" if declined else "",
            source_id=source.pk if source else None,
            destination_id=destination.pk if destination else None,
            amount=amount,
            currency=account.currency,
            reference="example",
            created_by_id=account.owner_id,
            created_at=self.now,
        )
        self.transactions.append(transaction)
        if not declined:
            for side, signed in ((source, -amount), (destination, amount)):
                if side is not None:
                    self._enter(transaction, side, signed)

    def _enter(self, transaction: Transaction, account: Account, amount: Decimal) -> None:
        account.balance += amount
        account.version += 1
        self.entries.append(
            Entry(
                transaction=transaction,
                account=account,
                sequence=account.version,
                kind=transaction.kind,
                amount=amount,
                balance_after=account.balance,
                reference=transaction.reference,
                created_at=self.now,
            )
        )


def bulk_load(*, accounts: Iterable[Account], transactions: Iterable[Transaction], entries: Iterable[Entry]) -> None:
    """Insert new accounts and their whole history by COPY; for example data.

    Every row must be new, and balances, versions and sequences must be computed already: only the database's constraints
    check them here. `verify_ledger` finds what those cannot see. Nothing is counted, and no gate is entered.
    Requires: an open `transaction_without_timeouts`, so that a history is written whole or not at all.
    """
    with connection.cursor() as cursor:
        # A foreign key check planned while the tables were empty would scan them from end to end for every row.
        cursor.execute("DISCARD PLANS")
        for model, rows in ((Account, accounts), (Transaction, transactions), (Entry, entries)):
            meta = model._meta
            columns = [field.column for field in meta.concrete_fields]
            attributes = [field.attname for field in meta.concrete_fields]
            with cursor.copy(f"COPY {meta.db_table} ({', '.join(columns)}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row([getattr(row, attribute) for attribute in attributes])
