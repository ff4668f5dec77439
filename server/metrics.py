"""Metrics server: the arbiter serves the sum of all gunicorn workers' metrics, on a port of its own.

Each worker writes its values into memory-mapped files (prometheus_client's multiprocess mode). The arbiter, which
serves no requests, adds them up: so it responds while all workers are busy, and the public port has no metrics.
server/gunicorn_conf.py takes its hooks from here.

Note [Slots]
A file belongs to a worker's slot and not to its process: the worker that replaces a dead one takes its slot and
continues its files. So the number of files does not grow with every replaced worker, and no counter decreases. A slot
is free again only when its process has been reaped, so no two live workers share one; a reload needs twice as many for
a moment.

This is a module of its own because gunicorn executes its configuration file again at each reload, which must not reset the
state here.
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

MULTIPROC_DIR_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
DIRECTORY_PREFIX: Final = "app-metrics-"
LOCK_FILE: Final = "lock"
# For files that are written at every request, and are of no use after a restart.
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  the directory has an unguessable name and is private

# gunicorn's own objects: it ships no types.
Arbiter = Any
Worker = Any

_slot = "arbiter"
_server: WSGIServer | None = None
_exits: Counter[str] = Counter({"exit": 0, "signal": 0, "timeout": 0})


def metrics_server_hook(*, port: int, directory: str, version: str) -> Callable[[Arbiter], None]:
    """Return the hook that starts the metrics server before the workers start, or exits with the reason.

    It listens on the application's interface, or, if that is a Unix socket, on 127.0.0.1.
    directory: for the workers' files; it is emptied. "" creates a new one in memory.
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
        environment.set_environment_variable(
            MULTIPROC_DIR_VARIABLE, str(_claim_directory(Path(directory)) if directory else _create_directory())
        )
        values.ValueClass = values.MultiProcessValue(process_identifier=lambda: _slot)
        registry.register(WorkersCollector(None))  # type: ignore[no-untyped-call]  # its class has no annotations
        registry.register(ArbiterCollector(arbiter, version))

    return when_ready


def pre_fork(arbiter: Arbiter, worker: Worker) -> None:
    """Give a worker that is about to start the lowest free slot. See Note [Slots]."""
    taken = {other.slot for other in list(arbiter.WORKERS.values())}
    worker.slot = next(str(number) for number in range(len(taken) + 1) if str(number) not in taken)
    # Shared with the worker, which sets it when it exits cleanly.
    worker.exited_cleanly = mmap.mmap(-1, 1)


def post_fork(arbiter: Arbiter, worker: Worker) -> None:
    """Use the worker's slot, and close the metrics server's socket, which is the arbiter's."""
    global _slot  # noqa: PLW0603  one process, one slot
    _slot = worker.slot
    if _server is not None:
        _server.socket.close()


def worker_exit(arbiter: Arbiter, worker: Worker) -> None:
    """Record, in the worker, that it exits cleanly."""
    worker.exited_cleanly[0] = 1


def child_exit(arbiter: Arbiter, worker: Worker) -> None:
    """Count the exit of a worker by its reason, and remove its gauges of live processes: requests in progress."""
    clean = worker.exited_cleanly[0]
    worker.exited_cleanly.close()
    _exits["timeout" if worker.aborted else "exit" if clean else "signal"] += 1
    mark_process_dead(worker.slot)


def _interface(arbiter: Arbiter) -> str:
    names = [listener.sock.getsockname() for listener in arbiter.LISTENERS]
    return next((name[0] for name in names if isinstance(name, tuple)), "127.0.0.1")


# --- The workers' files ----------------------------------------------------------------------------------------------


def _claim_directory(directory: Path) -> Path:
    """Lock a directory for this server and its workers until the last of them ends, and empty it."""
    directory.mkdir(parents=True, exist_ok=True)
    lock = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _try_lock(lock):
        sys.exit(
            f"error: the directory {directory} is in use by another server: set {MULTIPROC_DIR_VARIABLE} to another"
        )
    for file in directory.glob("*.db"):
        file.unlink()
    return directory


def _create_directory() -> Path:
    """Create a directory in memory, and remove those of servers that were killed."""
    parent = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    for lock in parent.glob(f"{DIRECTORY_PREFIX}*/{LOCK_FILE}"):
        with contextlib.suppress(OSError):
            _remove_if_abandoned(lock)
    directory = Path(tempfile.mkdtemp(prefix=DIRECTORY_PREFIX, dir=parent))
    # Under another name until it is locked: another server must not find it before.
    unlocked = directory / "new"
    _try_lock(os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    unlocked.rename(directory / LOCK_FILE)
    creator = os.getpid()

    def remove() -> None:
        # Workers inherit the atexit handler, but not the process id.
        if os.getpid() == creator:
            shutil.rmtree(directory, ignore_errors=True)

    atexit.register(remove)
    return directory


def _remove_if_abandoned(lock: Path) -> None:
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        if _try_lock(descriptor):
            shutil.rmtree(lock.parent)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    """Lock a file until the last process of this server ends (workers inherit it); return False if another server has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# --- Collectors ------------------------------------------------------------------------------------------------------


class WorkersCollector(MultiProcessCollector):
    """The sum of the workers' files."""

    def collect(self) -> Iterator[Metric]:
        # A worker that starts creates a file and sets its length a moment later.
        try:
            yield from super().collect()  # type: ignore[no-untyped-call]  # it has no annotations
        except struct.error:
            time.sleep(0.01)
            yield from super().collect()  # type: ignore[no-untyped-call]  # it has no annotations


class ArbiterCollector(Collector):
    """Metrics of the arbiter: its workers, and the connections that wait for them."""

    def __init__(self, arbiter: Arbiter, version: str) -> None:
        self._arbiter = arbiter
        self._version = version
        self._started_at = time.time()

    def collect(self) -> Iterator[Metric]:
        arbiter, pids = self._arbiter, list(self._arbiter.WORKERS)
        yield gauge("app_workers", "Worker processes that live.", len(pids))
        yield gauge("app_workers_wanted", "Worker processes that there should be.", arbiter.num_workers)
        yield gauge(
            "app_threads", "Requests that the living workers can work on at once.", len(pids) * arbiter.cfg.threads
        )
        exits = CounterMetricFamily(
            "app_worker_exits",
            "Workers that ended: orderly, by a signal (also for want of memory), or replaced after their timeout.",
            labels=["reason"],
        )
        for reason, count in _exits.items():
            exits.add_metric([reason], count)
        yield exits
        queues = [queue for queue in (_queue(listener) for listener in arbiter.LISTENERS) if queue is not None]
        if queues:
            yield gauge("app_accept_queue", "Connections that no worker has accepted yet.", sum(queues))
        if memory := sum(_resident_bytes(pid) for pid in [os.getpid(), *pids]):
            yield gauge("app_resident_memory_bytes", "Memory of the arbiter and its workers.", memory)
        yield gauge("app_start_time_seconds", "When the server started, in seconds since 1970.", self._started_at)
        info = GaugeMetricFamily("app_build_info", "The commit that is served.", labels=["version"])
        info.add_metric([self._version], 1)
        yield info


def gauge(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, value=value)


def _queue(listener: Any) -> int | None:
    """Return the length of a listening socket's queue, or None where the system has no figure (Linux has, for TCP)."""
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
