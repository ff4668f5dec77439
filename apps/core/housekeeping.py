"""Housekeeping: daily tasks and checks that the apps register, run by `manage.py housekeeping`.

An app registers tasks (delete expired rows) and checks (is the stored data consistent) in a module that its
`AppConfig.ready` imports:

    @housekeeping.task("carts")
    def delete_abandoned_carts() -> int:
        return housekeeping.delete_in_batches(Cart.objects.filter(expires_at__lte=timezone.now()))

    @housekeeping.check("stock")
    def verify_stock() -> list[str]:
        return [f"{sku} is negative" for sku in ...]

The time at which each part last succeeded and failed is a row (`HousekeepingRun`). Each of gunicorn's workers reads it
once a minute and publishes it as a gauge, so that a missing or failing schedule raises an alert.
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

from apps.core.middleware import probes
from apps.core.models import HousekeepingRun
from apps.core.observability.metrics import with_all_label_values

# Returns the number of deleted rows.
Task = Callable[[], int]
# Returns the problems it found, as sentences for a log: no customer's data.
Check = Callable[[], Sequence[str]]
R = TypeVar("R", bound=Callable[[], Any])

tasks: Final[dict[str, Task]] = {}
checks: Final[dict[str, Check]] = {}


def task(name: str) -> Callable[[Task], Task]:
    """Register a function that deletes expired rows and returns their number."""
    return _registered(tasks, name)


def check(name: str) -> Callable[[Check], Check]:
    """Register a function that returns the problems of the stored data, for `--verify`."""
    return _registered(checks, name)


def _registered(registry: dict[str, R], name: str) -> Callable[[R], R]:
    def register(function: R) -> R:
        if name in registry:
            raise ValueError(f"two functions are registered for housekeeping as {name!r}")
        registry[name] = function
        return function

    return register


# --- Deleting --------------------------------------------------------------------------------------------------------

BATCH_SIZE: Final = 1000
# Less than PostgreSQL's deadlock_timeout (1 s): a request waits this long for a batch's row, and is never the victim.
LOCK_TIMEOUT_MS: Final = 100
# The server ends a session that idles in a transaction, and so holds a row, after 10 s.
RETRY_PAUSES_S: Final = (0.2, 0.5, 1, 2, 4, 8)


def delete_in_batches(dead: "models.QuerySet[Any]") -> int:
    """Delete rows in short statements that give way to requests; return their number.

    The table is walked by its primary key, so each statement reads `BATCH_SIZE` rows at most, whatever the condition and
    its indexes. Each batch is a transaction of its own.
    Raises: OperationalError if a row stays locked for longer than all `RETRY_PAUSES_S`; earlier batches stay deleted.
    """
    keys = dead.model._base_manager.order_by("pk").values_list("pk", flat=True)
    deleted = 0
    beyond: dict[str, Any] = {}
    while True:
        last = next(iter(keys.filter(**beyond)[BATCH_SIZE - 1 : BATCH_SIZE]), None)
        if last is None:
            return deleted + _delete(dead.filter(**beyond))
        deleted += _delete(dead.filter(**beyond, pk__lte=last))
        beyond = {"pk__gt": last}


def _delete(batch: "models.QuerySet[Any]") -> int:
    """Delete a batch; retry after a pause if another transaction holds one of its rows."""
    for pause_s in RETRY_PAUSES_S:
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
    return by_model.get(batch.model._meta.label, 0)


# --- One at a time ---------------------------------------------------------------------------------------------------

# Any two numbers that no other lock uses.
ADVISORY_LOCK_ID: Final = (0x62616E6B, 0x686F7573)


class AlreadyRunning(Exception):
    """Another housekeeping is running."""


@contextmanager
def exclusive() -> Iterator[None]:
    """Hold an advisory lock that the server releases with its connection, however this process ends.

    It is a transaction's lock, which works behind a pooler. So it has a connection of its own, whose transaction has no
    snapshot and holds up no vacuum.
    Raises: AlreadyRunning.
    """
    holder = connections.create_connection(DEFAULT_DB_ALIAS)
    try:
        holder.set_autocommit(False)
        with holder.cursor() as cursor:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", ADVISORY_LOCK_ID)
            if cursor.fetchone() != (True,):
                raise AlreadyRunning
        yield
    finally:
        holder.close()


# --- The record and its gauges -----------------------------------------------------------------------------------------

PUBLISH_INTERVAL_S: Final = 60

# max: the newest of all workers' readings, also if one of them has stopped reading.
LAST_SUCCESS: Final = with_all_label_values(
    Gauge(
        "app_housekeeping_last_success_timestamp_seconds",
        "When `manage.py housekeeping` last succeeded, in seconds since 1970; 0: never.",
        ["part"],
        multiprocess_mode="max",
    ),
    part=HousekeepingRun.Part.values,
)
LAST_FAILURE: Final = with_all_label_values(
    Gauge(
        "app_housekeeping_last_failure_timestamp_seconds",
        "When `manage.py housekeeping` last failed, in seconds since 1970; 0: never.",
        ["part"],
        multiprocess_mode="max",
    ),
    part=HousekeepingRun.Part.values,
)


def record(part: HousekeepingRun.Part, *, succeeded: bool) -> None:
    """Store the time at which a part has just ended."""
    ended = "succeeded_at" if succeeded else "failed_at"
    HousekeepingRun.objects.update_or_create(part=part, defaults={ended: timezone.now()})


def publish() -> bool:
    """Copy the stored times into the gauges."""
    for run in HousekeepingRun.objects.all():
        for gauge, at in ((LAST_SUCCESS, run.succeeded_at), (LAST_FAILURE, run.failed_at)):
            if at is not None:
                gauge.labels(run.part).set(at.timestamp())
    return True


def start_publishing() -> None:
    """Publish now and once a minute, on the probes' connection: no request waits for it, and no connection is added."""

    def work() -> None:
        while True:
            try:
                probes.database.passes(publish)
            # The process is ending, and its executors are shut down.
            except RuntimeError:
                return
            time.sleep(PUBLISH_INTERVAL_S)

    threading.Thread(target=work, name="housekeeping-metrics", daemon=True).start()
