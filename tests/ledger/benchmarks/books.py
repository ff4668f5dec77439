"""Databases of the benchmark: the product's and its contenders' on one PostgreSQL, filled alike, and their audit."""

import secrets
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import psycopg
from uuid_utils.compat import uuid7

from devtools.embedded_postgres import Cluster
from tests.support.paths import ROOT

PASSWORD = "correct horse battery staple"
OPENING = Decimal("1000000.00")
AMOUNT = Decimal("0.01")
PEERS_DATABASE = "peers"
SCHEMA = Path(__file__).parent / "peers" / "schema.sql"


class MoneyLostError(Exception):
    """The books are not what the acknowledged requests say."""


@dataclass(frozen=True)
class Tables:
    """The names under which a database holds accounts, movements and entries."""

    account: str
    movement: str
    entry: str


PRODUCT_TABLES = Tables("ledger_account", "ledger_transaction", "ledger_entry")
PEER_TABLES = Tables("account", "movement", "entry")


@dataclass
class Books:
    """The accounts of one contender, and what it has acknowledged since they were opened."""

    tables: Tables
    token: str
    accounts: list[str]
    long_account: str
    """An account with many entries, which no request changes."""
    usernames: list[str]
    deep_cursor: str
    withdrawals: int = 0
    transfers: int = 0


@dataclass(frozen=True)
class Audit:
    """What the database has beside what was acknowledged; `missing` is money that left no trace in the balances."""

    acknowledged: int
    recorded: int
    missing: Decimal

    @property
    def lost(self) -> int:
        """Withdrawals that were acknowledged and left the balance as it was."""
        return int(self.missing / AMOUNT)


def audit(connection: psycopg.Connection[Any], books: Books) -> Audit:
    """Compare the sums of a contender's accounts with what it has acknowledged.

    Raises: MoneyLostError if movements are missing, doubled, or have other amounts than their entries: no race excuses that.
    """
    accounts = [UUID(account) for account in books.accounts]

    def one(query: str) -> Any:
        row = connection.execute(query, {"accounts": accounts, "amount": AMOUNT}).fetchone()
        return row[0] if row else None

    tables = books.tables
    balances = one(f"SELECT sum(balance) FROM {tables.account} WHERE id = ANY(%(accounts)s)")
    moved = f"FROM {tables.movement} WHERE account_id = ANY(%(accounts)s) AND kind IN ('withdrawal', 'transfer')"
    recorded = one(f"SELECT count(*) {moved}")
    others = one(f"SELECT count(*) {moved} AND amount <> %(amount)s")
    entered = one(f"SELECT sum(amount) FROM {tables.entry} WHERE account_id = ANY(%(accounts)s)")
    acknowledged = books.withdrawals + books.transfers
    opened = OPENING * len(accounts)
    expected = opened - AMOUNT * books.withdrawals
    # Entries of peers leave out the opening deposit.
    entries_expected = expected if tables is PRODUCT_TABLES else expected - opened
    if recorded != acknowledged or others or (entered or 0) != entries_expected:
        raise MoneyLostError(
            f"{acknowledged} movements were acknowledged, {recorded} are recorded, {others} of another amount;"
            f" the entries sum to {entered}, not {entries_expected}"
        )
    return Audit(acknowledged, recorded, balances - expected)


@dataclass
class Databases:
    """A PostgreSQL of the benchmark's own with both databases; a context manager that removes it in the end."""

    folder: Path
    entries: int
    accounts: int
    cluster: Cluster = field(init=False)
    _customer: UUID = field(init=False)
    _peer_usernames: dict[str, list[str]] = field(init=False, default_factory=dict)
    _long_account: UUID = field(init=False)

    def __enter__(self) -> Self:
        self.cluster = Cluster("test", checkout=self.folder)
        self.cluster.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.cluster.remove()

    def connect(self, database: str = "app_test") -> psycopg.Connection[Any]:
        return psycopg.connect(host=str(self.cluster.sockets), user="app", dbname=database, autocommit=True)

    @property
    def peers(self) -> str:
        """The folder of the socket and the name of the contenders' database, as they read it from their environment."""
        return f"{self.cluster.sockets} {PEERS_DATABASE}"

    # --- The product ---

    def make_product(self, usernames: int) -> None:
        """Migrate the product's database, and add a user with a long account. Requires Django's settings of the tests."""
        from django.core.management import call_command
        from django.test import override_settings

        from tests.factories import UserFactory
        from tests.ledger.factories import AccountFactory

        call_command("migrate", verbosity=0)
        # The cost that production has.
        hashers = ["apps.users.hashers.BoundedArgon2PasswordHasher"]
        with override_settings(PASSWORD_HASHERS=hashers):
            self.usernames = [UserFactory(password=PASSWORD).username for _ in range(usernames)]
        self.user = UserFactory()
        self.long_account = AccountFactory(owner=self.user)
        with self.connect() as connection:
            # Triggers for each row would take minutes. The constraints hold by construction; verify_ledger looks again.
            connection.execute("SET session_replication_role = replica")
            connection.execute(
                """
                INSERT INTO ledger_transaction (
                    id, account_id, idempotency_key, kind, status, decline_code, destination_id, amount, currency, reference,
                    created_by_id, created_at
                )
                SELECT uuidv7(), %(account)s, 'fill-' || number, 'deposit', 'posted', '', %(account)s, 1, 'USD', '',
                       %(user)s, now()
                FROM generate_series(1, %(entries)s) AS number
                """,
                {"account": self.long_account.pk, "user": self.user.pk, "entries": self.entries},
            )
            connection.execute(
                """
                INSERT INTO ledger_entry (
                    id, transaction_id, account_id, sequence, kind, amount, balance_after, reference, created_at
                )
                SELECT uuidv7(), id, account_id, number, kind, 1, number, reference, created_at
                FROM (SELECT *, substr(idempotency_key, 6)::int AS number FROM ledger_transaction) AS filled
                WHERE account_id = %(account)s
                """,
                {"account": self.long_account.pk},
            )
            connection.execute(
                "UPDATE ledger_account SET balance = %(entries)s, version = %(entries)s WHERE id = %(account)s",
                {"account": self.long_account.pk, "entries": self.entries},
            )
            connection.execute("VACUUM ANALYZE")

    def product_books(self, *, with_ids: Sequence[UUID] | None = None) -> Books:
        """Open funded accounts of the product's user. Requires: make_product."""
        from tests.factories import token_of
        from tests.ledger.factories import AccountFactory

        ids = with_ids or [uuid7() for _ in range(self.accounts)]
        for id_ in ids:
            AccountFactory(id=id_, owner=self.user, funded=str(OPENING))
        return Books(
            tables=PRODUCT_TABLES,
            token=token_of(self.user),
            accounts=[str(id_) for id_ in ids],
            long_account=str(self.long_account.pk),
            usernames=self.usernames,
            deep_cursor=self._signed_cursor(),
        )

    def _signed_cursor(self) -> str:
        """Return the product's cursor at a tenth of the list from its end; the way there by pages would take minutes."""
        from django.core import signing

        from tests.ledger.benchmarks.contenders import PRODUCT_SECRET_KEY

        path = f"/api/v1/accounts/{self.long_account.pk}/transactions/"
        signer = signing.Signer(key=PRODUCT_SECRET_KEY, salt=f"cursor of {self.user.pk} for {path}")
        return signer.sign_object([0, False, str(self.entries // 10)])

    def verify_product(self) -> None:
        """Recompute the product's books. Raises: MoneyLostError."""
        command = [sys.executable, "manage.py", "verify_ledger"]
        done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
        if done.returncode:
            raise MoneyLostError(done.stdout + done.stderr)

    # --- The contenders ---

    def make_peers(self, usernames: int) -> None:
        """Create the contenders' database with one customer and a long account."""
        import argon2

        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {PEERS_DATABASE}")
        password = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1).hash(PASSWORD)
        # Django writes the algorithm before argon2's own text.
        forms = {"django": f"argon2{password}", "fastapi": password}
        self._customer, self._long_account = uuid7(), uuid7()
        with self.connect(PEERS_DATABASE) as connection:
            connection.execute(SCHEMA.read_text())
            connection.execute("INSERT INTO customer VALUES (%s, 'owner', '')", [self._customer])
            for form, stored in forms.items():
                self._peer_usernames[form] = [f"{form}-{number}" for number in range(usernames)]
                for username in self._peer_usernames[form]:
                    connection.execute("INSERT INTO customer VALUES (%s, %s, %s)", [uuid7(), username, stored])
            self._open(connection, [self._long_account], self.entries)
            connection.execute("SET session_replication_role = replica")
            connection.execute(
                """
                INSERT INTO movement
                SELECT uuidv7(), %(account)s, 'fill-' || number, 'deposit', NULL, %(account)s, 1, 'USD', '', %(customer)s,
                       now()
                FROM generate_series(1, %(entries)s) AS number
                """,
                {"account": self._long_account, "customer": self._customer, "entries": self.entries},
            )
            connection.execute(
                """
                INSERT INTO entry
                SELECT uuidv7(), id, account_id, number, 1, number, created_at
                FROM (SELECT *, substr(idempotency_key, 6)::int AS number FROM movement) AS filled
                """
            )
            connection.execute("VACUUM ANALYZE")

    def _open(self, connection: psycopg.Connection[Any], ids: Sequence[UUID], balance: Decimal | int) -> None:
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO account VALUES (%s, %s, '', 'USD', %s, 0, 'open', now())",
                [(id_, self._customer, balance) for id_ in ids],
            )

    def peer_books(self, form: str) -> Books:
        """Open funded accounts for one contender, whose passwords are stored in this form. Requires: make_peers."""
        ids = [uuid7() for _ in range(self.accounts)]
        token = secrets.token_urlsafe(32)
        with self.connect(PEERS_DATABASE) as connection:
            self._open(connection, ids, OPENING)
            connection.execute(
                "INSERT INTO token VALUES (%s, %s, %s)",
                [sha256(token.encode()).digest(), self._customer, datetime.now(UTC) + timedelta(days=1)],
            )
        return Books(
            tables=PEER_TABLES,
            token=token,
            accounts=[str(id_) for id_ in ids],
            long_account=str(self._long_account),
            usernames=self._peer_usernames[form],
            deep_cursor=str(self.entries // 10),
        )

    def audit(self, books: Books) -> Audit:
        with self.connect("app_test" if books.tables is PRODUCT_TABLES else PEERS_DATABASE) as connection:
            return audit(connection, books)

    def vacuum(self) -> None:
        """Vacuum what the last round has updated, so that no contender runs on another's dead rows."""
        for database, table in (("app_test", "ledger_account"), (PEERS_DATABASE, "account")):
            with self.connect(database) as connection:
                connection.execute(f"VACUUM ANALYZE {table}")
