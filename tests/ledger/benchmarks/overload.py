"""Overload of the product behind its proxy: ten times its capacity, then a storm of logins: `make bench-overload`.

    make bench-overload                        60 s of each
    make bench-overload ARGS="--seconds 10"

Requests come at a fixed rate, whether the earlier ones were answered or not, as from clients that do not wait for each
other. Printed are the accepted and the refused with their times, the probes meanwhile, the memory, and the time until an
ordinary load is served as before. Exit code: 1 for any answer but 2xx and the proxy's 503 with `Retry-After`, for a failed
probe, and for money that is not what the accepted requests say.
"""

import argparse
import random
import select
import statistics
import sys
import tempfile
import threading
import time
from array import array
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.ledger.benchmarks import load
from tests.ledger.benchmarks.books import Books, Databases, MoneyLostError
from tests.ledger.benchmarks.comparison import LOGINS, close_django, refuse_losses, setup_django
from tests.ledger.benchmarks.contenders import CONTENDERS, Running
from tests.ledger.benchmarks.estimates import percentile
from tests.ledger.benchmarks.load import CLOSE, Connection, LoadError, refuse_failure
from tests.ledger.benchmarks.machine import memory_mib
from tests.ledger.benchmarks.workloads import WORKLOADS
from tests.support.client import Address, Client, NoAnswer, Request
from tests.support.nginx import Nginx
from tests.support.patience import HANG_S

MOST_CONNECTIONS = 1500
PROBES = ("/livez/", "/ping/", "/readyz/")
REFUSED = 503
TIMES_CAPACITY = 10
# An ordinary load is served as before when its median takes no longer than this, by the median before.
AS_BEFORE = 1.5


@dataclass
class Flood:
    """Answers by status, with their latencies; `unsent`: requests for which no connection was free."""

    latencies_ms: dict[int, array] = field(default_factory=lambda: defaultdict(lambda: array("d")))
    unsent: int = 0

    @property
    def accepted(self) -> int:
        return sum(len(taken) for status, taken in self.latencies_ms.items() if status < REFUSED)

    def __str__(self) -> str:
        parts = [
            f"{status}: {len(taken):,} (p50 {percentile(taken, 0.5):.0f} ms, p99 {percentile(taken, 0.99):.0f} ms)"
            for status, taken in sorted(self.latencies_ms.items())
        ]
        return ", ".join([*parts, f"{self.unsent:,} not sent for want of a connection"])


class Sender:
    """Connections that send at a rate, whatever becomes of the earlier requests."""

    def __init__(self, address: Address, requests: Iterator[bytes]) -> None:
        self.found = Flood()
        self.busy: dict[int, Connection] = {}
        self._free: list[Connection] = []
        self._address, self._requests = address, requests
        self._poll = select.epoll()

    def run(self, *, per_s: float, seconds: float) -> None:
        """Send for so long, and wait for the last answers. Raises: LoadError."""
        start, sent = time.perf_counter(), 0
        while (passed := time.perf_counter() - start) < seconds or self.busy:
            due = int(min(passed, seconds) * per_s)
            for _ in range(due - sent):
                self._send()
            sent = due
            for descriptor, _ in self._poll.poll(0.002):
                self._receive(descriptor)
            if passed > seconds + HANG_S:
                raise LoadError(f"{len(self.busy)} requests had no answer")

    def close(self) -> None:
        self._poll.close()
        for client in [*self.busy.values(), *self._free]:
            client.socket.close()

    def _send(self) -> None:
        if not self._free and len(self.busy) >= MOST_CONNECTIONS:
            self.found.unsent += 1
            return
        client = self._free.pop() if self._free else Connection(self._address)
        self._poll.register(client.socket, select.EPOLLIN)
        self.busy[client.socket.fileno()] = client
        client.send(next(self._requests))

    def _receive(self, descriptor: int) -> None:
        client = self.busy[descriptor]
        try:
            answer = client.receive()
        except ConnectionError as error:
            raise LoadError(f"a connection was closed without an answer: {client.request[:80]!r}") from error
        if answer is None:
            return
        status = int(answer[9:12])
        if status != REFUSED or b"\r\nRetry-After: " not in answer or b'"code"' not in answer:
            refuse_failure(answer, client.request)
        self.found.latencies_ms[status].append((time.perf_counter() - client.sent_at) * 1000)
        self._poll.unregister(descriptor)
        del self.busy[descriptor]
        if CLOSE.search(answer, 0, answer.find(b"\r\n\r\n")):
            client.socket.close()
        else:
            self._free.append(client)


def flood(address: Address, requests: Iterator[bytes], *, per_s: float, seconds: float) -> Flood:
    """Send requests at a rate for so long. Raises: LoadError for any answer but 2xx and a refusal as the contract has it."""
    sender = Sender(address, requests)
    try:
        sender.run(per_s=per_s, seconds=seconds)
    finally:
        sender.close()
    return sender.found


@dataclass
class Watch:
    """Probes and memory during a block."""

    probes_ms: array = field(default_factory=lambda: array("d"))
    failed: list[str] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{len(self.probes_ms)} probes, {len(self.failed)} failed, p99 {percentile(self.probes_ms, 0.99):.0f} ms;"
            f" memory {self.memory[0]:.0f} MiB at first, {max(self.memory):.0f} at most, {self.memory[-1]:.0f} in the end"
        )


@contextmanager
def watched(address: Address, pid: int) -> Iterator[Watch]:
    """Ask all probes twice a second, as several balancers would, and sample the memory of a process tree."""
    watch, over = Watch(), threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            watch.memory.append(memory_mib(pid))
            for path in PROBES:
                begun = time.perf_counter()
                try:
                    with Client(address, token=None) as client:
                        status = client.send(Request("GET", path)).status
                except NoAnswer as error:
                    status = str(error)
                watch.probes_ms.append((time.perf_counter() - begun) * 1000)
                if status != 200:
                    watch.failed.append(f"{path}: {status}")

    with ThreadPoolExecutor(1) as pool:
        watch.memory.append(memory_mib(pid))
        looking = pool.submit(look)
        try:
            yield watch
        finally:
            over.set()
            looking.result()
            watch.memory.append(memory_mib(pid))


@dataclass
class Bank:
    """The product behind nginx, with one customer's books."""

    address: Address
    running: Running
    books: Books
    random: random.Random

    def ordinary(self, seconds: float, connections: int = 4) -> load.Load:
        """Withdraw from many accounts as fast as the answers come."""
        requests = WORKLOADS["withdraw"].requests(self.books, self.random)
        done = load.run(self.address, requests, connections=connections, seconds=seconds)
        self.books.withdrawals += done.answers
        return done

    def flood(self, workload: str, per_s: float, seconds: float) -> Flood:
        requests = WORKLOADS[workload].requests(self.books, self.random)
        found = flood(self.address, requests, per_s=per_s, seconds=seconds)
        self.books.withdrawals += found.accepted if workload == "withdraw" else 0
        return found


def overload(bank: Bank, seconds: float) -> list[str]:
    """Send ten times the capacity; print what became of it, and return what must not happen."""
    busy = bank.ordinary(5, connections=32)
    capacity = busy.answers / busy.seconds
    before = statistics.median(bank.ordinary(5).latencies_ms)
    print(
        f"capacity: {capacity:.0f} withdrawals a second (32 connections); the median with 4 connections is {before:.1f} ms"
    )
    with watched(bank.address, bank.running.pid) as watch:
        found = bank.flood("withdraw", TIMES_CAPACITY * capacity, seconds)
    ended = time.perf_counter()
    print(f"{TIMES_CAPACITY} x capacity for {seconds:g} s: {found}")
    print(f"accepted {found.accepted / seconds:.0f} a second, {found.accepted / seconds / capacity:.2f} of it; {watch}")
    while statistics.median(bank.ordinary(0.5).latencies_ms) > AS_BEFORE * before:
        if time.perf_counter() - ended > HANG_S:
            return [*watch.failed, "an ordinary load is still slower than before"]
    print(f"an ordinary load is served as before {time.perf_counter() - ended:.1f} s after the end")
    return watch.failed


def login_storm(bank: Bank, seconds: float) -> list[str]:
    """Send ten times as many logins as can be hashed beside an ordinary load; print how that fared, alone and with it."""
    requests = WORKLOADS["login"].requests(bank.books, bank.random)
    done = load.run(bank.address, requests, connections=1, seconds=3)
    per_s = TIMES_CAPACITY * done.answers / done.seconds
    alone = bank.ordinary(seconds / 4)
    with watched(bank.address, bank.running.pid) as watch, ThreadPoolExecutor(1) as pool:
        storm = pool.submit(bank.flood, "login", per_s, seconds / 2)
        beside = bank.ordinary(seconds / 2)
        found = storm.result()
    for name, one in (("alone", alone), ("beside the storm", beside)):
        taken = one.latencies_ms
        print(
            f"withdrawals {name}: {one.answers / one.seconds:.0f} a second, p50 {percentile(taken, 0.5):.1f} ms,"
            f" p99 {percentile(taken, 0.99):.1f} ms"
        )
    print(f"{per_s:.0f} logins a second for {seconds / 2:g} s: {found}; {watch}")
    return watch.failed


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make bench-overload", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="of the overload, and half as long of the storm: 60")
    parser.add_argument("--accounts", type=int, default=1000, help="that money is withdrawn from: 1,000")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for part in ("postgres", "nginx"):
            (folder / part).mkdir()
        try:
            with Databases(folder / "postgres", entries=100, accounts=options.accounts) as databases:
                setup_django(databases)
                databases.make_product(LOGINS)
                books = databases.product_books()
                close_django()
                product = Running(CONTENDERS["product"], databases, folder, python=Path(sys.executable), redis_url="")
                with product, Nginx(folder / "nginx", [product.address]) as nginx:
                    bank = Bank(nginx.address, product, books, random.Random(options.seed))
                    failed = overload(bank, options.seconds) + login_storm(bank, options.seconds)
                refuse_losses({"product": databases.audit(books)})
                databases.verify_product()
                print("the books agree with what was accepted")
        except (TimeoutError, LoadError, MoneyLostError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    for each in failed:
        print(f"error: {each}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
