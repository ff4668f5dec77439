"""Growth of the product's tables: a bank of ten million entries beside an empty one, then a soak: `make bench-growth`.

    make bench-growth                                             an hour, and 10 GB of disk
    make bench-growth ARGS="--entries 100000 --rounds 3 --soak 60"

The example data of `populate` fills a database until it has so many entries. The product serves it and an empty one at once;
the ratios are taken inside each round. Then come the sizes of tables and indexes, the part of updates that touched no index
(HOT), the settings of autovacuum, and a soak at 70 % of the capacity with memory, connections and latency by the minute.
Exit code: 1 for any answer but 2xx, and for books that `verify_ledger` finds wrong.
"""

import argparse
import dataclasses
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from psycopg import sql
from psycopg.rows import dict_row
from tqdm import tqdm

from tests.ledger.benchmarks import load
from tests.ledger.benchmarks.books import PRODUCT_TABLES, Books, Databases, MoneyLostError
from tests.ledger.benchmarks.comparison import close_django, setup_django
from tests.ledger.benchmarks.contenders import CONTENDERS, Running
from tests.ledger.benchmarks.estimates import percentile, ratio
from tests.ledger.benchmarks.load import LoadError
from tests.ledger.benchmarks.machine import descendants, memory_mib
from tests.ledger.benchmarks.overload import flood
from tests.ledger.benchmarks.report import table
from tests.ledger.benchmarks.workloads import WORKLOADS
from tests.support.paths import ROOT

GROWN = "grown"
# populate holds what it makes in memory, so it runs often. Two accounts a user and about 1.3 entries a row: ten million
# entries on about 100,000 accounts.
ROWS_OF_A_RUN = 200_000
USERS_OF_A_RUN = 1300
LARGEST_RATIO = 1.2
SOAK_AT = 0.7
SETTINGS = (
    "autovacuum_vacuum_scale_factor",
    "autovacuum_vacuum_insert_scale_factor",
    "autovacuum_analyze_scale_factor",
    "autovacuum_vacuum_cost_delay",
    "autovacuum_naptime",
)


class Growth:
    """Two databases of the product on one PostgreSQL, an empty one and a grown one."""

    def __init__(self, databases: Databases, seed: int) -> None:
        self.databases = databases
        self.random = random.Random(seed)
        self.url = databases.cluster.url.removesuffix("app_test") + GROWN

    def manage(self, *arguments: str) -> None:
        """Run a command on the grown database. Raises: MoneyLostError for one that fails."""
        environment = os.environ | {"TEST_DATABASE_URL": self.url}  # noqa: TID251  the child's is ours with one changed
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MoneyLostError(done.stdout + done.stderr)

    def fill(self, entries: int) -> None:
        """Run populate until there are so many entries."""
        with self.databases.connect() as connection:
            connection.execute(f"CREATE DATABASE {GROWN}")
        self.manage("migrate", "--verbosity=0")
        with (
            self.databases.connect(GROWN) as connection,
            tqdm(total=entries, unit=" entries", unit_scale=True, file=sys.stderr, disable=None) as progress,
        ):
            number = there = 0
            while there < entries:
                number += 1
                rows = min(ROWS_OF_A_RUN, entries - there)
                users = max(2, USERS_OF_A_RUN * rows // ROWS_OF_A_RUN)
                self.manage("populate", "--seed", str(number), "--users", str(users), "--rows", str(rows))
                now = connection.execute("SELECT count(*) FROM ledger_entry").fetchone()[0]
                progress.update(now - there)
                there = now
            connection.execute("VACUUM ANALYZE")

    def books(self, empty: Books, accounts: int) -> Books:
        """Give the empty bank's customer as many random accounts of the grown one that hold some money."""
        self._copy("users_user", "id = %s", self.databases.user.pk)
        self._copy("users_token", "user_id = %s", self.databases.user.pk)
        with self.databases.connect(GROWN) as connection:
            connection.execute("SELECT setseed(%s)", [self.random.random()])
            rows = connection.execute(
                "UPDATE ledger_account SET owner_id = %s WHERE id IN (SELECT id FROM ledger_account WHERE balance > 100"
                " ORDER BY random() LIMIT %s) RETURNING id, version",
                [self.databases.user.pk, accounts],
            ).fetchall()
            connection.execute("VACUUM ANALYZE ledger_account")
        longest = max(rows, key=lambda row: row[1])[0]
        return dataclasses.replace(empty, accounts=[str(id_) for id_, _ in rows], long_account=str(longest))

    def _copy(self, name: str, where: str, value: object) -> None:
        with self.databases.connect() as source, self.databases.connect(GROWN) as target:
            with source.cursor(row_factory=dict_row) as cursor:
                rows = cursor.execute(f"SELECT * FROM {name} WHERE {where}", [value]).fetchall()
            for row in rows:
                names = sql.SQL(", ").join(map(sql.Identifier, row))
                marks = sql.SQL(", ").join([sql.Placeholder()] * len(row))
                statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(name), names, marks)
                target.execute(statement, list(row.values()))

    def describe(self) -> Iterator[str]:
        """Yield the sizes, the HOT updates since the filling, and the settings of autovacuum."""
        with self.databases.connect(GROWN) as connection:
            connection.execute("SELECT pg_stat_force_next_flush()")
            sizes = connection.execute(
                "SELECT relname, n_live_tup, pg_table_size(relid), pg_indexes_size(relid), n_tup_upd, n_tup_hot_upd"
                " FROM pg_stat_user_tables WHERE relname = ANY(%s) ORDER BY relname",
                [list(dataclasses.astuple(PRODUCT_TABLES))],
            ).fetchall()
            rows = [
                [
                    name,
                    f"{live:,}",
                    f"{own / 2**20:,.1f}",
                    f"{indexes / 2**20:,.1f}",
                    f"{hot / updates:.0%}" if updates else "-",
                ]
                for name, live, own, indexes, updates, hot in sizes
            ]
            yield from table(["table", "rows", "MiB", "indexes MiB", "HOT of updates"], rows, right=range(1, 5))
            yield ""
            values = [connection.execute(f"SHOW {name}").fetchone()[0] for name in SETTINGS]
            yield from table(["setting", "value"], list(zip(SETTINGS, values, strict=True)))
            yield ""


def compare(
    servers: dict[str, Running], books: dict[str, Books], random_: random.Random, rounds: int, seed: int
) -> list[str]:
    """Print the ratios of the grown database to the empty one; return those that are too large."""
    failed, rows = [], []
    windows = {(name, workload): [] for name in servers for workload in ("withdraw", "account", "list")}
    for number in tqdm(range(-1, rounds), desc="Rounds", file=sys.stderr, disable=None):
        for name, workload in random_.sample(list(windows), len(windows)):
            requests = WORKLOADS[workload].requests(books[name], random_)
            done = load.run(servers[name].address, requests, connections=8, seconds=2)
            # The first round warms.
            if number >= 0:
                windows[name, workload].append(done.answers / done.seconds)
    for workload in ("withdraw", "account", "list"):
        found = ratio(windows["product", workload], windows[GROWN, workload], seed)
        rows.append([workload, *(f"{statistics.median(windows[name, workload]):.0f}" for name in servers), str(found)])
        if found.high > LARGEST_RATIO:
            failed.append(f"{workload}: {found} times as slow as on an empty database, not {LARGEST_RATIO}")
    print("\n".join(table(["", "empty, a second", "grown, a second", "empty / grown"], rows, right=range(1, 4))), "\n")
    return failed


def soak(server: Running, books: Books, databases: Databases, random_: random.Random, seconds: float) -> None:
    """Withdraw at a part of the capacity, and print memory, connections and latency of each slice."""
    requests = WORKLOADS["withdraw"].requests(books, random_)
    done = load.run(server.address, requests, connections=8, seconds=5)
    per_s = SOAK_AT * done.answers / done.seconds
    rows = []
    length = min(60.0, seconds)
    with databases.connect(GROWN) as connection:
        for number in tqdm(range(round(seconds / length)), desc="Soak", file=sys.stderr, disable=None):
            found = flood(server.address, requests, per_s=per_s, seconds=length)
            taken = found.latencies_ms[201]
            open_ = (
                connection.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [GROWN]).fetchone()[0]
                - 1
            )
            rows.append(
                [
                    f"{(number + 1) * length / 60:.0f}",
                    f"{len(taken) / length:.0f}",
                    f"{percentile(taken, 0.5):.1f}",
                    f"{percentile(taken, 0.99):.1f}",
                    f"{memory_mib(server.pid):.0f}",
                    str(open_),
                ]
            )
    print(f"A soak at {SOAK_AT:.0%} of the capacity, {per_s:.0f} withdrawals a second\n")
    head = ["minute", "a second", "p50 ms", "p99 ms", "memory MiB", "connections"]
    print("\n".join(table(head, rows, right=range(len(head)))), "\n")
    workers = [memory_mib(pid) for pid in descendants(server.pid)[1:]]
    print(f"Memory of each worker after it (PSS): {', '.join(f'{mib:.0f} MiB' for mib in workers)}")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make bench-growth", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=10_000_000, help="of the grown database: 10,000,000")
    parser.add_argument("--accounts", type=int, default=1000, help="that money is withdrawn from: 1,000")
    parser.add_argument("--rounds", type=int, default=9, help="of the comparison: 9")
    parser.add_argument("--soak", type=float, default=1800, metavar="SECONDS", help="1800; 0 for none")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "postgres").mkdir()
        try:
            databases = stack.enter_context(Databases(folder / "postgres", entries=1000, accounts=options.accounts))
            setup_django(databases)
            databases.make_product(usernames=1)
            books = {"product": databases.product_books()}
            close_django()
            growth = Growth(databases, options.seed)
            growth.fill(options.entries)
            books[GROWN] = growth.books(books["product"], options.accounts)
            product = CONTENDERS["product"]
            grown = dataclasses.replace(
                product, name=GROWN, environment={**product.environment, "DATABASE_URL": growth.url}
            )
            servers = {
                each.name: stack.enter_context(
                    Running(each, databases, folder, python=Path(sys.executable), redis_url="")
                )
                for each in (product, grown)
            }
            failed = compare(servers, books, growth.random, options.rounds, options.seed)
            if options.soak:
                soak(servers[GROWN], books[GROWN], databases, growth.random, options.soak)
            print("\n".join(growth.describe()))
            growth.manage("verify_ledger")
            databases.verify_product()
            print("verify_ledger found nothing in either")
        except (LoadError, MoneyLostError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    for each in failed:
        print(f"error: {each}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
