"""Housekeeping: what has to be done every day, registered by the apps and run by `manage.py housekeeping`.

An app registers tasks (delete what is dead) and checks (is what is stored still consistent) in a module that its
`AppConfig.ready` imports:

    @housekeeping.task("carts")
    def delete_abandoned_carts() -> int:
        return housekeeping.delete_in_batches(Cart.objects.filter(expires_at__lte=timezone.now()))

    @housekeeping.check("stock")
    def verify_stock() -> list[str]:
        return [f"{sku} is negative" for sku in ...]

When each part last succeeded and failed is a row (`HousekeepingRun`). Each of gunicorn's workers reads it once a minute and
publishes it as a gauge, so that a schedule that is not there, or not working, raises an alert.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections, models, transaction
from django.utils import timezone
from prometheus_client import Gauge
from psycopg import errors as postgres

from apps.core.middleware import probes as health
from apps.core.models import HousekeepingRun
from apps.core.observability.metrics import with_all_label_values

# Returns how many rows are gone.
Task = Callable[[], int]
# Returns what is wrong, in sentences for a log: no customer's data.
Check = Callable[[], Sequence[str]]
R = TypeVar("R", bound=Callable[[], Any])

tasks: Final[dict[str, Task]] = {}
checks: Final[dict[str, Check]] = {}


def task(name: str) -> Callable[[Task], Task]:
    """Register a function that deletes what is dead, and returns how many rows that were."""
    return _registered(tasks, name)


def check(name: str) -> Callable[[Check], Check]:
    """Register a function that returns what is wrong with the stored data, for `--verify`."""
    return _registered(checks, name)


def _registered(registry: dict[str, R], name: str) -> Callable[[R], R]:
    def register(function: R) -> R:
        if name in registry:
            raise ValueError(f"two functions are registered for housekeeping as {name!r}")
        registry[name] = function
        return function

    return register


# --- Deleting --------------------------------------------------------------------------------------------------------

BATCH: Final = 1000
# Less than PostgreSQL's deadlock_timeout (1 s): who meets a batch on a row waits this long at most, and is never the victim.
LOCK_TIMEOUT_MS: Final = 100
# A session that sits on a row is ended by the server after 10 s.
PAUSES_S: Final = (0.2, 0.5, 1, 2, 4, 8)


def delete_in_batches(dead: "models.QuerySet[Any]") -> int:
    """Delete rows without a long statement and without being in anybody's way; return how many.

    The table is walked by its primary key, so each statement looks at `BATCH` rows at most, whatever the condition and its
    indexes. Each batch is a transaction of its own.
    Raises: OperationalError where somebody holds a row for longer than all `PAUSES_S`; what is deleted stays so.
    """
    keys = dead.model._base_manager.order_by("pk").values_list("pk", flat=True)  # noqa: SLF001  public, in spite of its name
    deleted = 0
    beyond: dict[str, Any] = {}
    while True:
        last = next(iter(keys.filter(**beyond)[BATCH - 1 : BATCH]), None)
        if last is None:
            return deleted + _delete(dead.filter(**beyond))
        deleted += _delete(dead.filter(**beyond, pk__lte=last))
        beyond = {"pk__gt": last}


def _delete(batch: "models.QuerySet[Any]") -> int:
    """Delete a batch; give way, and come back, where others hold one of its rows."""
    for pause_s in PAUSES_S:
        try:
            return _delete_now(batch)
        except OperationalError as error:
            if not isinstance(error.__cause__, postgres.LockNotAvailable | postgres.DeadlockDetected):
                raise
        time.sleep(pause_s)
    return _delete_now(batch)


def _delete_now(batch: "models.QuerySet[Any]") -> int:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
        _, by_model = batch.delete()
    return by_model.get(batch.model._meta.label, 0)  # noqa: SLF001  public, in spite of its name


# --- One at a time ---------------------------------------------------------------------------------------------------

# "bank" and "hous": any two numbers that nobody else locks.
ONE_AT_A_TIME: Final = (0x62616E6B, 0x686F7573)


class AlreadyRunning(Exception):
    """Another housekeeping is at work."""


@contextmanager
def exclusive() -> Iterator[None]:
    """Hold a lock that is gone with its connection, whatever becomes of this process.

    It is a transaction's, and so works behind a pooler; hence a connection of its own, whose transaction has no snapshot
    and holds up no vacuum.
    Raises: AlreadyRunning.
    """
    holder = connections.create_connection(DEFAULT_DB_ALIAS)
    try:
        holder.set_autocommit(False)
        with holder.cursor() as cursor:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", ONE_AT_A_TIME)
            if cursor.fetchone() != (True,):
                raise AlreadyRunning
        yield
    finally:
        holder.close()


# --- The record and its gauges -----------------------------------------------------------------------------------------

READ_EVERY_S: Final = 60

# Of all workers' readings the newest, also where one of them has stopped reading.
LAST_SUCCESS: Final = with_all_label_values(
    Gauge(
        "bank_housekeeping_last_success_timestamp_seconds",
        "When `manage.py housekeeping` last succeeded, in seconds since 1970; 0: never.",
        ["part"],
        multiprocess_mode="max",
    ),
    part=HousekeepingRun.Part.values,
)
LAST_FAILURE: Final = with_all_label_values(
    Gauge(
        "bank_housekeeping_last_failure_timestamp_seconds",
        "When `manage.py housekeeping` last failed, in seconds since 1970; 0: never.",
        ["part"],
        multiprocess_mode="max",
    ),
    part=HousekeepingRun.Part.values,
)


def record(part: HousekeepingRun.Part, *, succeeded: bool) -> None:
    """Write down that a part has just ended."""
    ended = "succeeded_at" if succeeded else "failed_at"
    HousekeepingRun.objects.update_or_create(part=part, defaults={ended: timezone.now()})


def publish() -> bool:
    """Read the record into the gauges."""
    for run in HousekeepingRun.objects.all():
        for gauge, at in ((LAST_SUCCESS, run.succeeded_at), (LAST_FAILURE, run.failed_at)):
            if at is not None:
                gauge.labels(run.part).set(at.timestamp())
    return True


def start_publishing() -> None:
    """Publish now and once a minute, on the probes' connection: no request waits for it, and the pool of none grows."""

    def work() -> None:
        while True:
            try:
                health.database.passes(publish)
            # The process is about to end, and its executors already have.
            except RuntimeError:
                return
            time.sleep(READ_EVERY_S)

    threading.Thread(target=work, name="housekeeping-metrics", daemon=True).start()
