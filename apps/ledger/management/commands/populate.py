"""Example data: customers whose accounts have a history, and books that balance."""

import random
import sys
from argparse import ArgumentParser
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from tqdm import tqdm
from uuid_utils.compat import uuid7

from apps.database.postgresql import transaction_without_timeouts
from apps.ledger.models import Account, Entry, Transaction
from apps.ledger.posting import load

PASSWORD = "demo password, not a secret"  # noqa: S105  printed for whoever tries the example data
HISTORY = timedelta(days=90)


class Command(BaseCommand):
    """Make users, accounts, deposits, withdrawals, transfers and declined withdrawals; all in one transaction."""

    help = "Fill the database with example data. The same seed makes the same customers and amounts, once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seed", type=int, default=1, help="what the data is made from (default: 1)")
        parser.add_argument("--users", type=int, default=50, help="how many customers (default: 50)")
        parser.add_argument("--transactions", type=int, default=10_000, help="how many (default: 10000)")

    def handle(self, *args: Any, **options: Any) -> None:
        seed, users, transactions = options["seed"], options["users"], options["transactions"]
        if not settings.POPULATE_ALLOWED:
            message = "Example data has no place here: populate runs on the local and test settings only."
            raise CommandError(message)
        if users < 1 or transactions < 0:
            message = "There must be at least one user, and no fewer than no transactions."
            raise CommandError(message)
        names = [f"demo-{seed}-{number}" for number in range(1, users + 1)]
        user_model = get_user_model()
        if user_model.objects.filter(username__in=names).exists():
            self.stdout.write(f"Seed {seed} is in the database already; another one adds more: --seed {seed + 1}")
            return
        password = make_password(PASSWORD)
        owners = [user_model(username=name, email=f"{name}@example.org", password=password) for name in names]
        books = Books(random.Random(seed), [owner.pk for owner in owners], transactions)  # noqa: S311  examples, not secrets
        progress = tqdm(total=transactions, unit=" transactions", disable=not transactions, file=sys.stderr)
        with progress:
            for _ in range(transactions):
                books.add()
                progress.update()
        # Only now: a transaction that idles while we reckon would be ended by its timeout.
        with transaction_without_timeouts():
            user_model.objects.bulk_create(owners, batch_size=1000)
            load(accounts=books.accounts, transactions=books.transactions, entries=books.entries)
        self.stdout.write(
            f"Seed {seed}: {len(owners)} users, {len(books.accounts)} accounts, {len(books.transactions)} transactions, "
            f"{len(books.entries)} entries.\nLog in as {names[0]} with the password: {PASSWORD}"
        )


class Books:
    """The history of new accounts, worked out in memory by the rules that posting.post lets the database enforce."""

    def __init__(self, chance: random.Random, owner_ids: list[UUID], expected: int) -> None:
        self.chance = chance
        self.now = timezone.now() - HISTORY
        self.step = HISTORY / max(1, expected)
        self.accounts = [
            Account(owner_id=owner_id, name=name, currency="USD", created_at=self.now, balance=Decimal(0))
            for owner_id in owner_ids
            for name in ("Everyday", "Savings")
        ]
        self.transactions: list[Transaction] = []
        self.entries: list[Entry] = []

    def add(self) -> None:
        """Add one transaction: now and then a withdrawal that is declined, for want of money."""
        self.now += self.step
        account, other = self.chance.sample(self.accounts, 2)
        amount = Decimal(self.chance.randint(1, 50_000)) / 100
        kind = self.chance.choices(
            [Transaction.Kind.DEPOSIT, Transaction.Kind.WITHDRAWAL, Transaction.Kind.TRANSFER], weights=[5, 3, 4]
        )[0]
        source = None if kind == Transaction.Kind.DEPOSIT else account
        destination = {Transaction.Kind.DEPOSIT: account, Transaction.Kind.TRANSFER: other}.get(kind)
        declined = source is not None and source.balance < amount
        asked = Transaction(
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
        self.transactions.append(asked)
        if not declined:
            for side, signed in ((source, -amount), (destination, amount)):
                if side is not None:
                    self._enter(asked, side, signed)

    def _enter(self, asked: Transaction, account: Account, amount: Decimal) -> None:
        account.balance += amount
        account.version += 1
        self.entries.append(
            Entry(
                transaction=asked,
                account=account,
                sequence=account.version,
                amount=amount,
                balance_after=account.balance,
                created_at=self.now,
            )
        )
