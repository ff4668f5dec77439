"""Reads from a streaming replica: `read()` sends one there if it is new enough, and to the primary otherwise.

Optional: without REPLICA_DATABASE_URL there is no second alias, and every read is the primary's. docs/databases.md says how
a list of your own uses it.

Note [Explicit, never automatic]
A router that sends every SELECT to a replica reads what is out of date where that decides: a token that was revoked, an
idempotency key, a balance before it is changed, a row that this very transaction has written, a session. So `PrimaryRouter`
(routers.py) sends everything to the primary, and a read that may be a moment old says so by `read()`. Inside a transaction
it uses the primary in any case.

Note [Lag]
The primary is asked for the WAL that it has flushed, then the replica for what it has replayed. If it has replayed all of
that, its lag is 0, also where the last transaction was an hour ago: an idle primary is no lag. If not, the lag is the age of
the last transaction that it replayed, which grows while its receiver is cut off. PostgreSQL's own columns of lag are no
measure: `pg_stat_wal_receiver` needs a privilege and is empty for a receiver that is cut off, and the age alone grows on an
idle primary. A server that is not in recovery (it was promoted, or the URL names the primary) is no replica: not read.
The answer is kept for `LAG_CACHE_S`, and its own age counts as lag: the limit holds for what is read, whenever it was asked.
A primary that is itself in recovery (a failover is under way) has flushed nothing; what it has replayed takes that place.

Units: seconds.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, ProgrammingError, connections

from apps.core.circuit_breaker import CircuitBreaker
from apps.database.metrics import REPLICA_LAG, REPLICA_READS

T = TypeVar("T")

ALIAS: Final = "replica"
# So each worker asks at most twice a second.
LAG_CACHE_S: Final = 0.5
BREAKER_PAUSE_S: Final = 5.0
# The server fails, is in conflict with the primary's cleanup, or lacks a table that it has not replayed yet. Not
# InternalError: a write by mistake (25006) is a bug, on the replica only.
FAILURES: Final = (OperationalError, InterfaceError, ProgrammingError)

Refusal = Literal["lag", "version", "transaction", "failed", "paused", "not_a_replica"]
State = Literal["ok", "behind", "unavailable", "not_a_replica", "unknown"]

logger = logging.getLogger(__name__)
breaker = CircuitBreaker(
    BREAKER_PAUSE_S,
    logger=logger,
    broken="The replica does not answer; the primary answers its reads",
    healed="The replica answers again",
)


@dataclass(frozen=True)
class Position:
    """How far the replica was at `asked_at`. lag_s: None before its first transaction since it started."""

    is_replica: bool
    lag_s: float | None
    asked_at: float

    def is_fresh(self, at: float) -> bool:
        """Return whether what it returns at this time is at most `REPLICA_MAX_LAG_S` old."""
        return (
            self.is_replica and self.lag_s is not None and self.lag_s + at - self.asked_at <= settings.REPLICA_MAX_LAG_S
        )


class LagMonitor:
    """The replica's position, asked for at most every `LAG_CACHE_S` in this process. See Note [Lag]."""

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self.last: Position | None = None

    def position(self) -> Position | None:
        """Return the position, the last one while another thread asks. Raises: the errors of both databases."""
        last = self.last
        is_known = last is not None and time.monotonic() - last.asked_at < LAG_CACHE_S
        if is_known or not self._asking.acquire(blocking=False):
            return last
        try:
            self.last = self._ask()
        finally:
            self._asking.release()
        if self.last.lag_s is not None:
            REPLICA_LAG.set(self.last.lag_s)
        return self.last

    def _ask(self) -> Position:
        asked_at = time.monotonic()
        with connections[DEFAULT_DB_ALIAS].cursor() as primary:
            primary.execute(
                "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END"
            )
            (flushed,) = primary.fetchone()
        with connections[ALIAS].cursor() as replica:
            replica.execute(
                "SELECT pg_is_in_recovery(), CASE WHEN pg_last_wal_replay_lsn() >= %s::pg_lsn THEN 0"
                " ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END",
                [flushed],
            )
            is_replica, lag_s = replica.fetchone()
        return Position(is_replica, None if lag_s is None else max(0.0, float(lag_s)), asked_at)


monitor = LagMonitor()


def is_configured() -> bool:
    """Return whether there is a replica."""
    return ALIAS in settings.DATABASES


def read(query: Callable[[str], T], *, reaches: Callable[[str], bool] | None = None) -> T:
    """Return `query(alias)`, of the replica if it is new enough and no transaction is open, else of the primary.

    query: only reads, and returns rows, no lazy queryset; it is called again for the primary if the replica fails.
    reaches: returns whether the server with this alias has what the caller has seen already; without it, the replica may be
    behind by `REPLICA_MAX_LAG_S`.
    """
    if not is_configured():
        return query(DEFAULT_DB_ALIAS)
    refusal: Refusal | None = None
    if connections[DEFAULT_DB_ALIAS].in_atomic_block:
        refusal = "transaction"
    elif not breaker.allows_request():
        refusal = "paused"
    else:
        try:
            refusal = _refusal(reaches)
            rows = None if refusal else (query(ALIAS),)
        except FAILURES as error:
            connection = connections[ALIAS]
            if not connection.errors_occurred:
                raise  # the primary's
            connection.close()
            # Django resets it at the next connection, before which the primary may fail.
            connection.errors_occurred = False
            breaker.record_failure(error)
            refusal = "failed"
        else:
            breaker.record_success()
            if rows:
                REPLICA_READS.labels(ALIAS, "fresh" if reaches is None else "version").inc()
                return rows[0]
    REPLICA_READS.labels(DEFAULT_DB_ALIAS, refusal).inc()
    return query(DEFAULT_DB_ALIAS)


def _refusal(reaches: Callable[[str], bool] | None) -> Refusal | None:
    """Return why the replica cannot answer, or None. Raises: the errors of both databases."""
    position = monitor.position()
    if position is None:
        return "lag"
    if not position.is_replica:
        return "not_a_replica"
    if reaches is None:
        return None if position.is_fresh(time.monotonic()) else "lag"
    return None if reaches(ALIAS) else "version"


def state() -> State:
    """Return the replica's state as this process's last read found it; it is not asked."""
    if breaker.is_open:
        return "unavailable"
    last = monitor.last
    if last is None:
        return "unknown"
    if not last.is_replica:
        return "not_a_replica"
    return "ok" if last.is_fresh(last.asked_at) else "behind"
