"""Metrics of gunicorn's many processes as if they were one: server/gunicorn_conf.py takes its hooks from here.

Each worker writes its counts into memory-mapped files (prometheus_client's multiprocess mode), and the arbiter, which
never serves a request, adds them up and answers on a port of its own: so it answers while all workers are busy, and the
public port knows nothing of it.

Note [Slots]
A file belongs to a worker's place and not to its process: whoever replaces a dead worker takes its place and counts on in
its files. So the files do not become more with every worker that is replaced, and no counter ever goes back. A place is
free again only when its process has been reaped, so no two live workers share one; a reload needs twice as many for a
moment.

This is a module of its own because gunicorn executes its configuration file again at each reload, which must not reset
what is kept here.
"""

import atexit
import contextlib
import fcntl
import mmap
import os
import shutil
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Metric, start_http_server, values
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from config import env as environment

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
PREFIX: Final = "bank-metrics-"
LOCK: Final = "lock"
# Files that are written at every request, and mean nothing after a restart.
IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108  what is made there has a name of its own and is ours alone

# gunicorn's own objects: it ships no types.
Arbiter = Any
Worker = Any

_slot = "arbiter"
_server: WSGIServer | None = None
_exits: Counter[str] = Counter({"exit": 0, "signal": 0, "timeout": 0})


def served_by_arbiter(*, port: int, directory: str, version: str) -> Callable[[Arbiter], None]:
    """Return the hook that starts to serve metrics, before there are workers, or ends the process with the reason.

    They are served where the application is: on its interface, or, if it has a Unix socket, on 127.0.0.1.
    directory: where the workers keep their files; it is emptied. By default a new one in memory.
    """

    def when_ready(arbiter: Arbiter) -> None:
        global _server
        if arbiter.cfg.preload_app:
            sys.exit("error: gunicorn must not preload the application: its metrics would belong to no worker")
        registry = CollectorRegistry()
        try:
            _server, _ = start_http_server(port, _interface(arbiter), registry)
        except OSError as error:
            sys.exit(
                f"error: port {port} for metrics is taken ({error.strerror}): stop what uses it, or set METRICS_PORT"
            )
        environment.set_environment_variable(VARIABLE, str(_claimed(Path(directory)) if directory else _made()))
        values.ValueClass = values.MultiProcessValue(process_identifier=lambda: _slot)
        registry.register(WorkersCollector(None))  # type: ignore[no-untyped-call]  # its class has no annotations
        registry.register(ArbiterCollector(arbiter, version))

    return when_ready


def pre_fork(arbiter: Arbiter, worker: Worker) -> None:
    """Give a worker that is about to start the lowest free place. See Note [Slots]."""
    taken = {other.slot for other in list(arbiter.WORKERS.values())}
    worker.slot = next(str(number) for number in range(len(taken) + 1) if str(number) not in taken)
    # Shared with the worker, who says good-bye there.
    worker.farewell = mmap.mmap(-1, 1)


def post_fork(arbiter: Arbiter, worker: Worker) -> None:
    """Take one's place, and leave the port to the arbiter."""
    global _slot  # noqa: PLW0603  one process, one place
    _slot = worker.slot
    if _server is not None:
        _server.socket.close()


def worker_exit(arbiter: Arbiter, worker: Worker) -> None:
    """Tell the arbiter, from inside the worker, that this end is an orderly one."""
    worker.farewell[0] = 1


def child_exit(arbiter: Arbiter, worker: Worker) -> None:
    """Count a worker's end, and take away what only a living one has: requests in progress."""
    orderly = worker.farewell[0]
    worker.farewell.close()
    _exits["timeout" if worker.aborted else "exit" if orderly else "signal"] += 1
    mark_process_dead(worker.slot)


def _interface(arbiter: Arbiter) -> str:
    names = [listener.sock.getsockname() for listener in arbiter.LISTENERS]
    return next((name[0] for name in names if isinstance(name, tuple)), "127.0.0.1")


# --- The workers' files ----------------------------------------------------------------------------------------------


def _claimed(directory: Path) -> Path:
    """Take a directory for this server and its workers until the last of them ends, and empty it."""
    directory.mkdir(parents=True, exist_ok=True)
    lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _locks(lock):
        sys.exit(f"error: the directory {directory} is another server's: set {VARIABLE} to one for this server alone")
    for file in directory.glob("*.db"):
        file.unlink()
    return directory


def _made() -> Path:
    """Make a directory in memory, and take away those of servers that were killed."""
    parent = IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    for lock in parent.glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError):
            _remove_if_left(lock)
    directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    # Under another name until it is locked: nobody else must find it before.
    unlocked = directory / "new"
    _locks(os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    unlocked.rename(directory / LOCK)
    made_by = os.getpid()

    def remove() -> None:
        # Workers inherit the obligation, but not the process id.
        if os.getpid() == made_by:
            shutil.rmtree(directory, ignore_errors=True)

    atexit.register(remove)
    return directory


def _remove_if_left(lock: Path) -> None:
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        if _locks(descriptor):
            shutil.rmtree(lock.parent)
    finally:
        os.close(descriptor)


def _locks(descriptor: int) -> bool:
    """Lock a file until the last process of this server ends (workers inherit it); return False if another server has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# --- What is told ----------------------------------------------------------------------------------------------------


class WorkersCollector(MultiProcessCollector):
    """The sum of the workers' files."""

    def collect(self) -> Iterator[Metric]:
        # A worker that starts makes a file and only then gives it a length.
        try:
            yield from super().collect()  # type: ignore[no-untyped-call]  # it has no annotations
        except struct.error:
            time.sleep(0.01)
            yield from super().collect()  # type: ignore[no-untyped-call]  # it has no annotations


class ArbiterCollector(Collector):
    """What only the arbiter knows: its workers, and what waits before them."""

    def __init__(self, arbiter: Arbiter, version: str) -> None:
        self._arbiter = arbiter
        self._version = version
        self._started_at = time.time()

    def collect(self) -> Iterator[Metric]:
        arbiter, pids = self._arbiter, list(self._arbiter.WORKERS)
        yield gauge("bank_workers", "Worker processes that live.", len(pids))
        yield gauge("bank_workers_wanted", "Worker processes that there should be.", arbiter.num_workers)
        yield gauge(
            "bank_threads", "Requests that the living workers can work on at once.", len(pids) * arbiter.cfg.threads
        )
        exits = CounterMetricFamily(
            "bank_worker_exits",
            "Workers that ended: orderly, by a signal (also for want of memory), or replaced after their timeout.",
            labels=["reason"],
        )
        for reason, count in _exits.items():
            exits.add_metric([reason], count)
        yield exits
        queues = [queue for queue in (_queue(listener) for listener in arbiter.LISTENERS) if queue is not None]
        if queues:
            yield gauge("bank_accept_queue", "Connections that no worker has accepted yet.", sum(queues))
        if memory := sum(_resident_bytes(pid) for pid in [os.getpid(), *pids]):
            yield gauge("bank_resident_memory_bytes", "Memory of the arbiter and its workers.", memory)
        yield gauge("bank_start_time_seconds", "When the server started, in seconds since 1970.", self._started_at)
        info = GaugeMetricFamily("bank_build_info", "The commit that is served.", labels=["version"])
        info.add_metric([self._version], 1)
        yield info


def gauge(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, value=value)


def _queue(listener: Any) -> int | None:
    """Return how many connections wait at a listening socket, or None where the system does not say (Linux, TCP does)."""
    try:
        waiting: int = listener.get_backlog()
    # Closed while the server stops.
    except (OSError, ValueError, AttributeError):
        return None
    return None if waiting < 0 else waiting


def _resident_bytes(pid: int) -> int:
    """Return the memory of a process; 0 if it has just ended, or the system has no /proc."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGESIZE")
