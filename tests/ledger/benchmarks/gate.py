"""Benchmark of the ledger's gate by scenario. Prints a table; run by hand (docs/ledger/adr/0005-gate-not-lock.md).

    make shell
    python -m tests.ledger.benchmarks.gate [--rounds 5] [--seconds 4] [scenario ...]

First it says what one command costs alone. Then each round runs a scenario without and with the gate, in random order, on
a gunicorn as it is deployed and a PostgreSQL and a Redis of the benchmark's own; the ratio is worked out inside each round.
The books must balance after each run. The scenario `pooled` needs `pgbouncer` in the path.
"""

import argparse
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

import psycopg

from devtools import embedded_postgres
from tests.ledger.requests import money_request
from tests.support.client import Address, Client, NoAnswer
from tests.support.paths import ROOT
from tests.support.redis_server import RedisServer, program
from tests.support.server import Server

COLD_ACCOUNTS = 200
OTHER_CLIENTS = 4
# As in config/settings/base.py: PgBouncer drops what clients set when they connect.
LIMITS_MS = {"lock_timeout": 2_000, "statement_timeout": 5_000}


@dataclass(frozen=True)
class Scenario:
    """busy: clients of one account (0: none); others: clients of many accounts; threads: of each of two workers."""

    busy: int
    others: int
    threads: int
    connections: int = 200
    pool: int | None = None

    def __str__(self) -> str:
        where = f"{self.pool} behind PgBouncer" if self.pool else self.connections
        return f"{self.busy} clients of one account, {self.others} of others; 2x{self.threads} threads, connections: {where}"


SCENARIOS = {
    "cold": Scenario(busy=0, others=8, threads=8),
    "busy": Scenario(busy=16, others=OTHER_CLIENTS, threads=16),
    "busier": Scenario(busy=64, others=OTHER_CLIENTS, threads=40),
    "scarce": Scenario(busy=64, others=OTHER_CLIENTS, threads=40, connections=24),
    "pooled": Scenario(busy=64, others=OTHER_CLIENTS, threads=40, pool=8),
}


@dataclass
class Run:
    """What one run gave."""

    seconds: float
    busy: list[tuple[str, float]]
    others: list[tuple[str, float]]
    connections: list[tuple[int, int]] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        figures: dict[str, float] = {}
        for name, answers in (("busy", self.busy), ("others", self.others)):
            good = sorted(elapsed_s * 1000 for code, elapsed_s in answers if code == "ok")
            if answers:
                figures[f"{name} 201/s"] = len(good) / self.seconds
                figures[f"{name} p50 ms"] = quantile(good, 0.5)
                figures[f"{name} p95 ms"] = quantile(good, 0.95)
                figures[f"{name} other answers %"] = 100 * (1 - len(good) / len(answers))
        figures["connections, mean"] = statistics.fmean(total for total, _ in self.connections)
        figures["connections, most"] = max(total for total, _ in self.connections)
        figures["of them waiting for a lock, mean"] = statistics.fmean(waiting for _, waiting in self.connections)
        return figures


def quantile(ordered: Sequence[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")


class Bank:
    """A PostgreSQL with a user and funded accounts."""

    def __init__(self, folder: Path) -> None:
        self.cluster = embedded_postgres.Cluster("test", checkout=folder)
        self.cluster.start()
        os.environ |= {  # noqa: TID251  for this process and those it starts
            "DJANGO_SETTINGS_MODULE": "config.settings.test",
            "TEST_DATABASE_URL": self.cluster.url,
        }
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        from tests.factories import UserFactory, token_of
        from tests.ledger.factories import AccountFactory

        call_command("migrate", verbosity=0)
        user = UserFactory()
        self.token = token_of(user)
        self.accounts = [str(AccountFactory(owner=user, funded="1000000.00").pk) for _ in range(COLD_ACCOUNTS + 1)]
        connection.close()
        with self.connect() as superuser:
            for name, value in LIMITS_MS.items():
                superuser.execute(f"ALTER ROLE app SET {name} = {value}")
        # PgBouncer runs as another user, whom `peer` would not admit.
        (self.cluster.data / "pg_hba.conf").write_text("local all all trust\n")

    def restart(self, connections: int) -> None:
        self.cluster.stop()
        with mock.patch.dict(embedded_postgres.MAX_CONNECTIONS, test=connections):
            self.cluster.start()

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(host=str(self.cluster.sockets), user="app", dbname="app_test", autocommit=True)

    def verify(self) -> None:
        subprocess.run([sys.executable, "manage.py", "verify_ledger"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)

    @contextmanager
    def sampled(self, samples: list[tuple[int, int]]) -> Iterator[None]:
        """Look at the application's connections during the block: how many there are, and how many wait for a lock."""
        over = threading.Event()

        def look() -> None:
            with self.connect() as connection:
                while not over.wait(0.05):
                    row = connection.execute(
                        "SELECT count(*), count(*) FILTER (WHERE wait_event_type = 'Lock') FROM pg_stat_activity"
                        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                    ).fetchone()
                    samples.append(row)

        with ThreadPoolExecutor(1) as pool:
            looking = pool.submit(look)
            try:
                yield
            finally:
                over.set()
                looking.result()


@contextmanager
def pooler(bank: Bank, size: int, folder: Path) -> Iterator[str]:
    """Run PgBouncer in front of the bank, in transaction mode; give its URL."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\napp_test = host={bank.cluster.sockets} port=5432 user=app\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n"
        f"default_pool_size = {size}\nmax_client_conn = 500\nignore_startup_parameters = options,extra_float_digits\n"
    )
    owner = bank.cluster.data.as_owner()
    command = [shutil.which("pgbouncer"), "--quiet", configuration]
    process = subprocess.Popen(command, user=owner if os.geteuid() == 0 else None, stderr=subprocess.DEVNULL)
    try:
        time.sleep(1)
        yield f"postgres://app@127.0.0.1:{port}/app_test"
    finally:
        process.terminate()
        process.wait()


def load(
    address: Address, token: str, accounts: Sequence[str], clients: int, seconds: float
) -> list[tuple[str, float]]:
    """Withdraw from the accounts with so many clients at once; return every answer's code and time."""

    def run(number: int) -> list[tuple[str, float]]:
        random_ = random.Random(number)
        answers = []
        with Client(address, token) as client:
            until = time.monotonic() + seconds
            while (begun := time.monotonic()) < until:
                request = money_request(random_.choice(accounts), "withdrawals", {"amount": "0.01"})
                try:
                    answer = client.send(request)
                except NoAnswer as nothing:
                    answers.append((str(nothing), time.monotonic() - begun))
                else:
                    answers.append((answer.code, answer.elapsed_s))
        return answers

    with ThreadPoolExecutor(clients) as pool:
        return [answer for answers in pool.map(run, range(clients)) for answer in answers]


def run(bank: Bank, scenario: Scenario, folder: Path, *, seconds: float, **environment: str) -> Run:
    """Run a scenario once, with the gate that the environment configures."""
    samples: list[tuple[int, int]] = []
    with ExitStack() as stack:
        # Before anybody else: it may get no connection later.
        stack.enter_context(bank.sampled(samples))
        url = bank.cluster.url
        if scenario.pool:
            url = stack.enter_context(pooler(bank, scenario.pool, folder))
        server = stack.enter_context(Server(url, folder / "log", workers=2, threads=scenario.threads, **environment))
        # Of their own, so that the ones do not slow the others down; spawned, for a fork would take connections along.
        processes = stack.enter_context(ProcessPoolExecutor(2, mp_context=get_context("spawn")))
        busy, *others = bank.accounts
        shares = [([busy], scenario.busy), (others, scenario.others)]

        def ask(for_s: float) -> list[list[tuple[str, float]]]:
            asked = [
                processes.submit(load, server.address, bank.token, accounts, clients, for_s) if clients else None
                for accounts, clients in shares
            ]
            return [answers.result() if answers else [] for answers in asked]

        ask(1)
        samples.clear()
        busy_answers, other_answers = ask(seconds)
        seen = [*samples]
    bank.verify()
    return Run(seconds, busy_answers, other_answers, seen)


def show_price(bank: Bank, redis_url: str, *, batches: int = 60, size: int = 40) -> None:
    """Print what one command costs alone, in this process and without HTTP: the 20th percentile of short batches."""
    from django.db import connection
    from django.test import override_settings

    from apps.ledger.models import Account
    from tests.ledger.factories import transfer, withdraw

    accounts = list(Account.objects.filter(pk__in=bank.accounts[1:]))
    commands = {
        "withdrawal": lambda: withdraw(random.choice(accounts), "0.01"),
        "transfer": lambda: transfer(*random.sample(accounts, 2), "0.01"),
    }
    gates = {
        "off": override_settings(LEDGER_GATE="off"),
        "on": override_settings(LEDGER_GATE="redis", REDIS_URL=redis_url),
    }
    print(f"\nalone: {batches} batches of {size}, in turn; microseconds for one command: wall, CPU of this process")
    for name, command in commands.items():
        taken: dict[str, list[tuple[float, float]]] = {"off": [], "on": []}
        for _ in range(batches):
            for gate, settings in gates.items():
                with settings:
                    begun = time.perf_counter(), time.process_time()
                    for _ in range(size):
                        command()
                    ended = time.perf_counter(), time.process_time()
                taken[gate].append(tuple((end - start) / size * 1e6 for start, end in zip(begun, ended, strict=True)))
        costs = {
            gate: [quantile(sorted(column), 0.2) for column in zip(*rows, strict=True)] for gate, rows in taken.items()
        }
        print(f"{name:12}", {gate: [round(cost) for cost in both] for gate, both in costs.items()})
    connection.close()


def show(figures: Sequence[dict[str, dict[str, float]]]) -> None:
    """Print median, least and most over the rounds, side by side."""
    print(f"{'':36} {'off':>24} {'on':>24} {'on / off':>22}")
    for name in figures[0]["off"]:
        cells = []
        for gate in ("off", "on"):
            values = [figure[gate][name] for figure in figures]
            cells.append(f"{statistics.median(values):.1f} [{min(values):.1f}, {max(values):.1f}]")
        ratios = [figure["on"][name] / figure["off"][name] for figure in figures if figure["off"][name]]
        ratio = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]" if ratios else "-"
        print(f"{name:36} {cells[0]:>24} {cells[1]:>24} {ratio:>22}")


def main() -> None:
    """Run the scenarios that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    seed = random.randrange(2**32)
    random_ = random.Random(seed)
    git = [shutil.which("git"), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    redis_version = subprocess.run([program(), "--version"], capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory() as name, RedisServer() as redis:
        folder = Path(name)
        folder.chmod(0o755)
        environments = {"off": {"LEDGER_GATE": "off"}, "on": {"LEDGER_GATE": "redis", "REDIS_URL": redis.url}}
        bank = Bank(folder)
        try:
            with bank.connect() as connection:
                postgres_version = connection.execute("SHOW server_version").fetchone()[0]
            print(
                f"commit {commit.stdout.strip()}, seed {seed}, {os.cpu_count()} cores, Python {sys.version.split()[0]},"
            )
            print(f"PostgreSQL {postgres_version}, {redis_version}; load {os.getloadavg()}")
            show_price(bank, redis.url)
            for title in options.scenarios or SCENARIOS:
                scenario = SCENARIOS[title]
                if scenario.pool and not shutil.which("pgbouncer"):
                    print(f"\n{title}: left out, there is no pgbouncer")
                    continue
                print(f"\n{title}: {scenario}; {options.rounds} rounds of {options.seconds:g} s", flush=True)
                bank.restart(scenario.connections)
                figures, told = [], {"off": Counter[str](), "on": Counter[str]()}
                for _ in range(options.rounds):
                    figure = {}
                    for gate in random_.sample(["off", "on"], 2):
                        done = run(bank, scenario, folder, seconds=options.seconds, **environments[gate])
                        figure[gate] = done.figures()
                        told[gate].update(code for code, _ in done.busy + done.others)
                    figures.append(figure)
                show(figures)
                print("answers:", {gate: dict(codes) for gate, codes in told.items()}, flush=True)
        finally:
            bank.cluster.remove()


if __name__ == "__main__":
    main()
