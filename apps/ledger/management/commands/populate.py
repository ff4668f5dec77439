"""Example data: customers whose accounts have a history, and history that balance."""

import random
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from apps.database.postgresql import transaction_without_timeouts
from apps.ledger.example_data import ExampleHistory, bulk_load

PASSWORD = "demo password, not a secret"  # noqa: S105  printed, for logging in as an example customer


class Command(BaseCommand):
    """Create users, accounts, deposits, withdrawals, transfers and declined withdrawals; all in one transaction."""

    help = (
        "Fill the database with example data. The same seed makes the same customers and amounts, and is written once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seed", type=int, default=1, help="seed of the random data (default: 1)")
        parser.add_argument("--users", type=int, default=50, help="number of customers (default: 50)")
        parser.add_argument("--transactions", type=int, default=10_000, help="number of transactions (default: 10000)")

    def handle(self, *args: Any, **options: Any) -> None:
        seed, users, transactions = options["seed"], options["users"], options["transactions"]
        if not settings.POPULATE_ALLOWED:
            message = "populate is not allowed here: it runs on the local and test settings only."
            raise CommandError(message)
        if users < 1 or transactions < 0:
            message = "--users must be at least 1, --transactions at least 0."
            raise CommandError(message)
        names = [f"demo-{seed}-{number}" for number in range(1, users + 1)]
        user_model = get_user_model()
        if user_model.objects.filter(username__in=names).exists():
            self.stdout.write(f"Seed {seed} is in the database already; use another one to add more: --seed {seed + 1}")
            return
        password = make_password(PASSWORD)
        owners = [user_model(username=name, email=f"{name}@example.org", password=password) for name in names]
        history = ExampleHistory(random.Random(seed), [owner.pk for owner in owners], transactions)  # noqa: S311  examples, not secrets
        progress = tqdm(total=transactions, unit=" transactions", disable=not transactions, file=sys.stderr)
        with progress:
            for _ in range(transactions):
                history.add_transaction()
                progress.update()
        # Only now: PostgreSQL would end a transaction that idles while the history is computed.
        with transaction_without_timeouts():
            user_model.objects.bulk_create(owners, batch_size=1000)
            bulk_load(accounts=history.accounts, transactions=history.transactions, entries=history.entries)
        self.stdout.write(
            f"Seed {seed}: {len(owners)} users, {len(history.accounts)} accounts, {len(history.transactions)} transactions, "
            f"{len(history.entries)} entries.\nLog in as {names[0]} with the password: {PASSWORD}"
        )
