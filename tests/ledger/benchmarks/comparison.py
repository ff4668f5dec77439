"""Comparison of all contenders: windows in shuffled rounds, with CPU and latency, and an audit of the money at the end."""

import os
import random
import statistics
import sys
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from uuid import UUID

from tqdm import tqdm

from tests.ledger.benchmarks import load
from tests.ledger.benchmarks.books import Audit, Books, Databases, MoneyLostError
from tests.ledger.benchmarks.contenders import CONTENDERS, Contender, Runner, Running, pgbench_ids, pgbench_runner
from tests.ledger.benchmarks.estimates import percentile
from tests.ledger.benchmarks.load import Load
from tests.ledger.benchmarks.machine import MachineTime, cpu_s
from tests.ledger.benchmarks.workloads import WORKLOADS
from tests.support.redis_server import RedisServer

LOGINS = 20


@dataclass(frozen=True)
class Plan:
    """What is measured. `connections`: of every workload, and `more_connections` of those in `widely`."""

    contenders: tuple[str, ...]
    workloads: tuple[str, ...]
    connections: tuple[int, ...]
    widely: tuple[str, ...]
    more_connections: tuple[int, ...]
    rounds: int
    seconds: float
    entries: int
    accounts: int
    starts: int
    seed: int

    def blocks(self) -> list[tuple[str, int]]:
        """List the pairs of a workload and a number of connections, which are measured contender beside contender."""
        usual = [(workload, count) for workload in self.workloads for count in self.connections]
        widely = [workload for workload in self.workloads if workload in self.widely]
        wide = [(workload, count) for workload in widely for count in self.more_connections]
        return [*usual, *(block for block in wide if block not in usual)]

    def takers(self, workload: str) -> list[str]:
        return [name for name in self.contenders if workload in CONTENDERS[name].workloads]

    def title(self, workload: str) -> str:
        return WORKLOADS[workload].title.format(accounts=self.accounts, entries=self.entries)

    @property
    def windows(self) -> int:
        return self.rounds * sum(len(self.takers(workload)) for workload, _ in self.blocks())


@dataclass(frozen=True)
class Window:
    """One contender's figures of one window.

    python_ms, postgres_ms, client_ms: CPU for each request.
    others: the part of the cores that neither it, nor PostgreSQL, nor the client took.
    """

    round: int
    workload: str
    connections: int
    contender: str
    requests: int
    per_s: float
    p50_ms: float
    p99_ms: float
    python_ms: float
    postgres_ms: float
    client_ms: float
    others: float
    stolen: float
    resent: int


@dataclass
class Results:
    """Everything that was measured."""

    windows: list[Window] = field(default_factory=list)
    latencies_ms: dict[tuple[str, int, str], array] = field(default_factory=lambda: defaultdict(lambda: array("d")))
    starts: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    audits: dict[str, Audit] = field(default_factory=dict)


class Bench:
    """All contenders, alive at once. A context manager."""

    def __init__(self, plan: Plan, folder: Path, python: Path, say: Callable[[str], None]) -> None:
        self.plan, self.folder, self.python, self.say = plan, folder, python, say
        self.random = random.Random(plan.seed)
        self.books: dict[str, Books] = {}
        self.running: dict[str, Running] = {}
        self._pgbench: Runner | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.__exit__(*exc_info)

    def _start(self, stack: ExitStack) -> None:
        plan = self.plan
        self.say(
            f"Filling both databases: {plan.entries:,} entries in one account, {plan.accounts} funded accounts each"
        )
        self.databases = stack.enter_context(Databases(self.folder / "postgres", plan.entries, plan.accounts))
        setup_django(self.databases)
        self.redis_url = stack.enter_context(RedisServer()).url
        self.databases.make_product(LOGINS)
        self.databases.make_peers(LOGINS)
        for name in plan.contenders:
            contender = CONTENDERS[name]
            if contender.form:
                self.books[name] = self.databases.peer_books(contender.form)
            else:
                ids: Sequence[UUID] | None = None if contender.command else pgbench_ids(plan.accounts)
                self.books[name] = self.databases.product_books(with_ids=ids)
            if contender.command is None:
                self._pgbench = pgbench_runner(self.databases, self.books[name], self.folder)
            else:
                self.say(f"Starting {contender.title}")
                self.running[name] = stack.enter_context(self.launch(contender))
        close_django()
        for name in self.running:
            self._check_answers(name)

    def launch(self, contender: Contender) -> Running:
        return Running(contender, self.databases, self.folder, python=self.python, redis_url=self.redis_url)

    def _check_answers(self, name: str) -> None:
        """Ask for one of each workload, and for the deep page. Raises: LoadError."""
        for workload in CONTENDERS[name].workloads:
            if workload in self.plan.workloads:
                answer = load.send(self.running[name].address, next(self.requests(name, workload)))
                WORKLOADS[workload].acknowledge(self.books[name], 1)
                expected = b'"sequence":%d,' % (self.plan.entries // 10 - 1)
                if workload == "deep" and expected not in answer.replace(b" ", b""):
                    raise load.LoadError(f"{name} does not answer with the deep page: {answer[:600]!r}")

    def requests(self, name: str, workload: str) -> Iterator[bytes]:
        return WORKLOADS[workload].requests(self.books[name], self.random)

    def run(self, name: str, workload: str, connections: int, seconds: float) -> Load:
        """Run a window of load on one contender, and write down what it has acknowledged."""
        if name in self.running:
            requests = self.requests(name, workload)
            done = load.run(self.running[name].address, requests, connections=connections, seconds=seconds)
        elif self._pgbench:
            done = self._pgbench(workload, connections, seconds)
        WORKLOADS[workload].acknowledge(self.books[name], done.answers)
        return done

    def measure(self, number: int, name: str, workload: str, connections: int, latencies_ms: array) -> Window:
        """Run a window, and return its figures."""
        servers = self.running[name].pid if name in self.running else None
        postgres = self.databases.cluster.postmaster
        assert postgres

        def used() -> tuple[float, float, MachineTime]:
            return cpu_s(servers) if servers else 0.0, cpu_s(postgres), MachineTime.now()

        python_s, postgres_s, machine = used()
        done = self.run(name, workload, connections, self.plan.seconds)
        python_now_s, postgres_now_s, machine_now = used()
        latencies_ms.extend(done.latencies_ms)
        python_s, postgres_s = python_now_s - python_s, postgres_now_s - postgres_s
        cores_s = done.seconds * cores()
        others_s = machine_now.busy_s - machine.busy_s - python_s - postgres_s - done.client_cpu_s
        return Window(
            round=number,
            workload=workload,
            connections=connections,
            contender=name,
            requests=done.answers,
            per_s=done.answers / done.seconds,
            p50_ms=percentile(done.latencies_ms, 0.5),
            p99_ms=percentile(done.latencies_ms, 0.99),
            python_ms=python_s * 1000 / done.answers,
            postgres_ms=postgres_s * 1000 / done.answers,
            client_ms=done.client_cpu_s * 1000 / done.answers,
            others=max(0.0, others_s / cores_s),
            stolen=(machine_now.stolen_s - machine.stolen_s) / cores_s,
            resent=done.resent,
        )

    def compare(self) -> Results:
        """Warm every contender, run all rounds, time the starts, and audit the money."""
        plan, results = self.plan, Results()
        pairs = [(name, workload) for workload in plan.workloads for name in plan.takers(workload)]
        for name, workload in tqdm(pairs, desc="Warming", file=sys.stderr, disable=None):
            self.run(name, workload, max(plan.connections), min(1.0, plan.seconds))
        with tqdm(total=plan.windows, desc="Windows", file=sys.stderr, disable=None) as progress:
            for number in range(plan.rounds):
                self.databases.vacuum()
                blocks = plan.blocks()
                self.random.shuffle(blocks)
                for workload, connections in blocks:
                    names = plan.takers(workload)
                    # Side by side in time, in a new order each round.
                    for name in self.random.sample(names, len(names)):
                        kept = results.latencies_ms[workload, connections, name]
                        results.windows.append(self.measure(number, name, workload, connections, kept))
                        progress.update()
                if not sys.stderr.isatty():
                    self.say(f"Round {number + 1} of {plan.rounds} is done")
        if plan.starts:
            results.starts = self.time_starts()
        results.audits = self.audit()
        return results

    def time_starts(self) -> dict[str, list[dict[str, float]]]:
        """Start each contender anew beside those that run, so many times, in shuffled order."""
        starts: dict[str, list[dict[str, float]]] = defaultdict(list)
        names = [name for name in self.plan.contenders if CONTENDERS[name].command]
        for _ in tqdm(range(self.plan.starts), desc="Starts", file=sys.stderr, disable=None):
            for name in self.random.sample(names, len(names)):
                starts[name].append(self._time_start(name))
        return starts

    def _time_start(self, name: str) -> dict[str, float]:
        """Return the seconds until a start was answered, and the milliseconds of the first withdrawal and of a warm one."""
        requests = self.requests(name, "withdraw")
        fresh = self.launch(CONTENDERS[name])
        with ExitStack() as stack:
            fresh.start()
            stack.push(fresh.__exit__)
            started_s = fresh.wait_until_it_answers()
            latencies = load.run(fresh.address, requests, connections=1, seconds=1).latencies_ms
        WORKLOADS["withdraw"].acknowledge(self.books[name], len(latencies))
        return {
            "start_s": started_s,
            "first_ms": latencies[0],
            "warm_ms": statistics.median(latencies[1:] or latencies),
        }

    def audit(self) -> dict[str, Audit]:
        """Compare the books with what was acknowledged. Raises: MoneyLostError if a contender lost money that may not."""
        self.say("Auditing the money of every contender, and verifying the product's books")
        audits = {name: self.databases.audit(books) for name, books in self.books.items()}
        refuse_losses(audits)
        self.databases.verify_product()
        return audits


def refuse_losses(audits: Mapping[str, Audit]) -> None:
    """Raise MoneyLostError for a loss of a contender that may have none."""
    for name, audit in audits.items():
        if audit.missing and not CONTENDERS[name].loses_updates:
            raise MoneyLostError(f"{name} lost {audit.lost} of {audit.acknowledged} withdrawals")


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def setup_django(databases: Databases) -> None:
    """Set up Django in this process, on the product's database, to make its rows."""
    os.environ |= {  # noqa: TID251  for this process and the commands it starts
        "DJANGO_SETTINGS_MODULE": "config.settings.test",
        "TEST_DATABASE_URL": databases.cluster.url,
    }
    import django

    django.setup()


def close_django() -> None:
    from django.db import connection

    connection.close()
