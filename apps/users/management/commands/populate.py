"""Example data: customers who can log in, and what each app adds for them."""

import random
import sys
from argparse import ArgumentParser
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from apps.database.postgresql import transaction_without_timeouts
from apps.users.models import User

PASSWORD = "demo password, not a secret"  # noqa: S105  printed, for logging in as an example customer


class Command(BaseCommand):
    """Create users, and the example data of every app whose AppConfig has a method `example_data`; all in one transaction.

    The method takes the random generator, the users' ids and the number of rows. It returns an object that makes a row at
    each step of an iteration, saves all by `save()`, and whose text says what they are.
    """

    help = (
        "Fill the database with example data. The same seed makes the same customers and amounts, and is written once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seed", type=int, default=1, help="seed of the random data (default: 1)")
        parser.add_argument("--users", type=int, default=50, help="number of customers (default: 50)")
        parser.add_argument("--rows", type=int, default=10_000, help="number of rows of each app (default: 10000)")

    def handle(self, *args: Any, **options: Any) -> None:
        seed, users, rows = options["seed"], options["users"], options["rows"]
        if not settings.POPULATE_ALLOWED:
            message = "populate is not allowed here: it runs on the local and test settings only."
            raise CommandError(message)
        if users < 1 or rows < 0:
            message = "--users must be at least 1, --rows at least 0."
            raise CommandError(message)
        names = [f"demo-{seed}-{number}" for number in range(1, users + 1)]
        if User.objects.filter(username__in=names).exists():
            self.stdout.write(f"Seed {seed} is in the database already; use another one to add more: --seed {seed + 1}")
            return
        password = make_password(PASSWORD)
        owners = [User(username=name, email=f"{name}@example.org", password=password) for name in names]
        rng = random.Random(seed)  # noqa: S311  examples, not secrets
        parts = [
            config.example_data(rng, [owner.pk for owner in owners], rows)
            for config in apps.get_app_configs()
            if hasattr(config, "example_data")
        ]
        for part in parts:
            for _ in tqdm(part, total=rows, unit=" rows", disable=not rows, file=sys.stderr):
                pass
        # Only now: PostgreSQL would end a transaction that idles while the rows are made.
        with transaction_without_timeouts():
            User.objects.bulk_create(owners, batch_size=1000)
            for part in parts:
                part.save()
        self.stdout.write(
            f"Seed {seed}: {', '.join([f'{len(owners)} users', *map(str, parts)])}.\n"
            f"Log in as {names[0]} with the password: {PASSWORD}"
        )
