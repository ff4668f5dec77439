"""Contenders of the benchmark: how each is started, what it claims, and which workloads it takes."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from uuid import UUID

from devtools.embedded_postgres import binaries
from tests.ledger.benchmarks.books import AMOUNT, Books, Databases
from tests.ledger.benchmarks.load import Load, LoadError, send
from tests.ledger.benchmarks.machine import descendants
from tests.ledger.benchmarks.workloads import request
from tests.support.client import Address
from tests.support.paths import ROOT
from tests.support.patience import HANG_S
from tests.support.production import PRODUCTION

PRODUCT_SECRET_KEY = PRODUCTION["SECRET_KEY"]
WORKERS, THREADS = 2, 4
PEERS = "tests.ledger.benchmarks.peers"
MONEY = ("withdraw", "hot")
EVERYTHING = (*MONEY, "transfer", "account", "list", "deep", "login", "empty")
GUNICORN = (
    *("-m", "gunicorn", f"{PEERS}.django_bank.wsgi:application", "--worker-class", "gthread", "--keep-alive", "75"),
    *("--workers", str(WORKERS), "--threads", str(THREADS), "--worker-tmp-dir", "/dev/shm"),  # noqa: S108  as the product
    "--no-control-socket",
)
UVICORN = ("-m", "uvicorn", "--workers", str(WORKERS), "--no-access-log", "--log-level", "warning")


@dataclass(frozen=True)
class Contender:
    """One program that does the workloads.

    title, what: a few words for the tables, and the rest.
    claims: what it does besides the work itself, to be read beside its figures.
    command: its arguments for Python, before those of the address; None for pgbench, which is no server.
    form: of the passwords in the contenders' database; empty for the product's.
    own_libraries: whether it needs the group `bench` of poetry.lock.
    loses_updates: whether two withdrawals at once may leave one balance: the audit then counts them.
    """

    name: str
    title: str
    what: str
    claims: str
    workloads: tuple[str, ...] = EVERYTHING
    command: tuple[str, ...] | None = ()
    bind: tuple[str, ...] = ("--bind", "{host}:{port}")
    environment: Mapping[str, str] = field(default_factory=dict)
    form: str = "django"
    own_libraries: bool = False
    loses_updates: bool = False


HONEST = "hashed token, idempotency key, row locks, metrics, JSON log"
CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender(
            "product",
            "this product",
            "production's settings, gunicorn with 2 workers of 4 threads",
            "hashed token, idempotency key with replay and 422, one statement, recorded declines, metrics, JSON log,"
            " problem+json, ETag, signed cursors, limits of time, login limits",
            command=("-m", "server", "--config", "server/gunicorn_conf.py", "config.wsgi:application"),
            environment=PRODUCTION
            | {"ALLOWED_HOSTS": "127.0.0.1", "NUM_PROXIES": "1", "DRAIN_SECONDS": "0", "LOG_FORMAT": "json"},
            form="",
        ),
        Contender(
            "tutorial",
            "tutorial, `runserver`",
            "Django REST framework as in a tutorial: read, subtract, save; `manage.py runserver`",
            "hashed token, idempotency key; loses updates; a database connection for each request; no metrics, no JSON log",
            workloads=(*MONEY, "list", "empty"),
            command=("-m", "django", "runserver", "--noreload"),
            bind=("{host}:{port}",),
            loses_updates=True,
        ),
        Contender(
            "naive",
            "tutorial, gunicorn",
            "the same view on the product's server, with kept connections to the database",
            "hashed token, idempotency key; loses updates; no metrics, no JSON log",
            workloads=(*MONEY, "account", "list", "deep", "login", "empty"),
            command=GUNICORN,
            loses_updates=True,
        ),
        Contender(
            "locked",
            "`select_for_update`",
            "the same, with the account's row locked",
            "hashed token, idempotency key, row locks; no metrics, no JSON log",
            workloads=(*MONEY, "transfer", "empty"),
            command=GUNICORN,
        ),
        Contender(
            "redis",
            "lock in Redis",
            "the same, with a lock of redis-py's round it",
            "hashed token, idempotency key, row locks, a lock in Redis; no metrics, no JSON log",
            workloads=(*MONEY, "empty"),
            command=GUNICORN,
        ),
        Contender(
            "ninja",
            "django-ninja",
            "django-ninja with the ORM, on the product's server",
            HONEST,
            command=GUNICORN,
            own_libraries=True,
        ),
        Contender(
            "sqlmodel",
            "FastAPI + SQLModel",
            "SQLModel and psycopg as FastAPI's template has them; uvicorn with 2 workers",
            HONEST,
            command=(*UVICORN, f"{PEERS}.fastapi_sqlmodel:app"),
            bind=("--host", "{host}", "--port", "{port}"),
            form="fastapi",
            own_libraries=True,
        ),
        Contender(
            "asyncpg",
            "FastAPI + asyncpg",
            "one prepared statement for the token and one for the work; uvicorn with 2 workers",
            "hashed token, idempotency key, one statement, metrics, JSON log",
            command=(*UVICORN, f"{PEERS}.fastapi_asyncpg:app"),
            bind=("--host", "{host}", "--port", "{port}"),
            form="fastapi",
            own_libraries=True,
        ),
        Contender(
            "pgbench",
            "`pgbench`",
            "the product's own statement, prepared: the limit of the database",
            "no HTTP, no token",
            workloads=MONEY,
            command=None,
            form="",
        ),
    )
}


class Running:
    """A contender's processes on a port of their own; a context manager that ends them."""

    def __init__(
        self, contender: Contender, databases: Databases, folder: Path, *, python: Path, redis_url: str
    ) -> None:
        self.contender = contender
        self.log = folder / f"{contender.name}.log"
        # In memory, as the product's own: the counts of workers are files.
        self._counts = Path(tempfile.mkdtemp(prefix=f"bench-{contender.name}-", dir="/dev/shm"))
        program = python if contender.own_libraries else Path(sys.executable)
        with socket.create_server(("127.0.0.1", 0)) as free, socket.create_server(("127.0.0.1", 0)) as another:
            self.address: Address = free.getsockname()
            metrics_port = another.getsockname()[1]
        host, port = self.address
        bind = [part.format(host=host, port=port) for part in contender.bind]
        self._command = [str(program), *contender.command, *bind]
        inherited = {
            name: value
            for name, value in os.environ.items()  # noqa: TID251  the child's is ours with some changed
            if name not in {"DJANGO_SETTINGS_MODULE", "TEST_DATABASE_URL", "VIRTUAL_ENV", "PYTHONWARNINGS"}
        }
        self._environment = inherited | {
            "PROMETHEUS_MULTIPROC_DIR": str(self._counts),
            "PYTHONUNBUFFERED": "",
            "BENCHMARK_DATABASE": databases.peers,
            "BENCHMARK_VARIANT": contender.name,
            "BENCHMARK_REDIS_URL": redis_url,
            "DJANGO_SETTINGS_MODULE": f"{PEERS}.django_bank.settings",
            "DATABASE_URL": databases.cluster.url,
            "METRICS_PORT": str(metrics_port),
            "WEB_CONCURRENCY": str(WORKERS),
            "GUNICORN_THREADS": str(THREADS),
            **contender.environment,
        }

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_until_it_answers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_it_answers(self) -> float:
        """Return the seconds until it answered."""
        start = time.perf_counter()
        while True:
            with contextlib.suppress(OSError):
                send(self.address, request("GET", "/livez/"))
                return time.perf_counter() - start
            if self._process.poll() is not None or time.perf_counter() - start > HANG_S:
                raise LoadError(f"{self.contender.name} does not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.005)

    def __exit__(self, *exc_info: object) -> None:
        family = descendants(self.pid)
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=HANG_S / 4)
        except subprocess.TimeoutExpired:
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait(timeout=HANG_S)
        shutil.rmtree(self._counts, ignore_errors=True)


# --- pgbench ---------------------------------------------------------------------------------------------------------


def pgbench_ids(count: int) -> list[UUID]:
    """Return ids that pgbench can work out from a number."""
    return [UUID(f"00000000-0000-7000-8000-{number:012d}") for number in range(1, count + 1)]


def pgbench_script(statement: str, owner: UUID, accounts: int) -> str:
    """Return a script that withdraws by the product's own statement. Raises: KeyError for a parameter it does not know."""
    from apps.core.money.amounts import MAX_VALUE
    from apps.core.money.currencies import DEFAULT_EXPONENT
    from apps.ledger.posting import UNUSUAL_EXPONENTS_JSON

    account = "('00000000-0000-7000-8000-' || lpad(:n::text, 12, '0'))"
    values = {
        "id": "uuidv7()",
        "source_entry": "uuidv7()",
        "destination_entry": "uuidv7()",
        "account": account,
        "scope": account,
        "owner": f"'{owner}'",
        "source": account,
        "destination": "NULL",
        "kind": "'withdrawal'",
        "amount": f"{AMOUNT}::numeric",
        "currency": "NULL",
        "places": "2",
        "unusual_exponents": f"'{UNUSUAL_EXPONENTS_JSON}'",
        "default_exponent": str(DEFAULT_EXPONENT),
        "reference": "''",
        "reverses": "NULL",
        "key": "('pgbench-' || :key::text)",
        "actor": f"'{owner}'::uuid",
        "max_balance": f"{MAX_VALUE}",
    }
    without_comments = re.sub(r"--.*", "", statement)
    sql = re.sub(r"%\((\w+)\)s", lambda found: values[found[1]], without_comments)
    return f"\\set n random(1, {accounts})\n\\set key random(1, 9000000000000000000)\n{sql.strip()};\n"


def run_pgbench(databases: Databases, script: Path, folder: Path, *, connections: int, seconds: float) -> Load:
    """Run a script for so long. Raises: LoadError for any failed transaction."""
    program = binaries() / "pgbench"
    logs = folder / "transactions"
    command = [
        *(program, "--no-vacuum", "--protocol=prepared", f"--file={script}", f"--client={connections}"),
        *(f"--time={max(1, round(seconds))}", "--log", f"--log-prefix={logs}"),
        *(f"--host={databases.cluster.sockets}", "--username=app", "app_test"),
    ]
    used = os.times()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    now_used = os.times()
    processed = re.search(r"^number of transactions actually processed: (\d+)", done.stdout, re.MULTILINE)
    failed = re.search(r"^number of failed transactions: (\d+)", done.stdout, re.MULTILINE)
    tps = re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)
    if done.returncode or processed is None or tps is None or (failed and int(failed[1])):
        raise LoadError(f"pgbench failed: {done.stdout}{done.stderr}")
    load = Load(seconds=int(processed[1]) / float(tps[1]))
    for log in folder.glob("transactions.*"):
        load.latencies_ms.extend(int(line.split()[2]) / 1000 for line in log.read_text().splitlines())
        log.unlink()
    if load.answers != int(processed[1]):
        raise LoadError(f"pgbench logged {load.answers} transactions of {processed[1]}")
    load.client_cpu_s = sum(now_used[2:4]) - sum(used[2:4])
    return load


Runner = Callable[[str, int, float], Load]
"""Runs a workload on so many connections for so long."""


def pgbench_runner(databases: Databases, books: Books, folder: Path) -> Runner:
    """Return what runs pgbench in place of requests."""
    from apps.ledger.posting_sql import POSTING_SQL

    scripts = {}
    for workload, accounts in (("withdraw", len(books.accounts)), ("hot", 1)):
        scripts[workload] = folder / f"{workload}.sql"
        scripts[workload].write_text(pgbench_script(POSTING_SQL, databases.user.pk, accounts))

    def run(workload: str, connections: int, seconds: float) -> Load:
        return run_pgbench(databases, scripts[workload], folder, connections=connections, seconds=seconds)

    return run
