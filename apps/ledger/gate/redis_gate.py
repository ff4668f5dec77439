"""Leases on accounts in Redis, with a wake-up list for those that wait.

Note [Wake-up list]
A release pushes to the account's wake-up list, which holds at most one element and for which waiters queue by BLPOP. So
the next one is awake within a round trip, roughly in the order of arrival, and none polls. A wake-up only means "try
again": a lost one costs a waiter MAX_WAIT_S, a false one costs a try. A release therefore pushes a wake-up even if the
lease has expired or was flushed.
"""

import logging
import random
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from uuid import UUID

from django.db import connection

from apps.core.circuit_breaker import CircuitBreaker
from apps.ledger.gate.metrics import GATE_WAIT

logger = logging.getLogger(__name__)

# Redis answers in less than a millisecond; one that needs this long is treated as absent, for as long as the pause.
REDIS_TIMEOUT_S = 0.25
REDIS_PAUSE_S = 1.0
# The longest wait for one wake-up, and the jitter after a lease that expired.
MAX_WAIT_S = 0.5
MAX_JITTER_S = 0.05

# Take the lease and return 0, or return for how many milliseconds another command has it.
ACQUIRE = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
    redis.call('DEL', KEYS[2])
    return 0
end
return math.max(redis.call('PTTL', KEYS[1]), 1)
"""
# Delete the lease if it is still the caller's own, and push a wake-up. See Note [Wake-up list].
RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('DEL', KEYS[1])
end
if redis.call('EXISTS', KEYS[2]) == 0 then
    redis.call('RPUSH', KEYS[2], '1')
    redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
"""


class GateOutcome(StrEnum):
    """How a command passed the gate."""

    AT_ONCE = "at_once"
    WAITED = "waited"
    # Without the lease: the wait was used up, or Redis could not be used.
    TIMED_OUT = "timed_out"
    BYPASSED = "bypassed"


METRIC_OUTCOME = {
    GateOutcome.AT_ONCE: "entered",
    GateOutcome.WAITED: "entered",
    GateOutcome.TIMED_OUT: "timed_out",
    GateOutcome.BYPASSED: "bypassed",
}


class RedisGate:
    """The gate that all processes share through one Redis (6 or newer, or Valkey).

    lease_s: after this long an account is free again although its holder has not released it.
    wait_s: the longest that one command waits, for all its accounts together.
    """

    def __init__(self, url: str, *, lease_s: float, wait_s: float) -> None:
        # Not at the top: loading the client takes a tenth of a second, and a gate that is off needs none.
        import redis  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415

        def client(timeout_s: float) -> redis.Redis:
            return redis.Redis.from_url(
                url,
                socket_connect_timeout=REDIS_TIMEOUT_S,
                socket_timeout=timeout_s,
                # The database is the second try.
                retry=Retry(NoBackoff(), 0),
                # A short handshake: nothing here needs what RESP3 adds, or a name.
                protocol=2,
                driver_info=None,
            )

        self.lease_ms = max(1, round(lease_s * 1000))
        self.wait_s = wait_s
        self.breaker = CircuitBreaker(
            REDIS_PAUSE_S,
            logger=logger,
            broken="The gate's Redis fails, so commands go straight to the database",
            healed="The gate's Redis answers again.",
        )
        self._redis_error = redis.RedisError
        self._blocking_client = client(MAX_WAIT_S + REDIS_TIMEOUT_S)
        prompt_client = client(REDIS_TIMEOUT_S)
        self._acquire_script = prompt_client.register_script(ACQUIRE)
        self._release_script = prompt_client.register_script(RELEASE)

    @contextmanager
    def acquire(self, account_ids: Iterable[UUID]) -> Iterator[GateOutcome]:
        """Hold the accounts' leases during the block, where they can be had in time; never raises because of Redis."""
        token, held = secrets.token_hex(16), list[UUID]()
        try:
            start = time.monotonic()
            outcome = self._acquire_all(account_ids, token, held)
            GATE_WAIT.labels(METRIC_OUTCOME[outcome]).observe(time.monotonic() - start)
            yield outcome
        finally:
            self._release(held, token)

    def _acquire_all(self, account_ids: Iterable[UUID], token: str, held: list[UUID]) -> GateOutcome:
        """Acquire the leases one by one and append their accounts to `held`."""
        if not self.breaker.allows_request():
            return GateOutcome.BYPASSED
        deadline = time.monotonic() + self.wait_s
        outcome = GateOutcome.AT_ONCE
        try:
            # In the order in which the posting statement locks them, so that no two commands wait for each other.
            for account_id in sorted(set(account_ids)):
                acquired = self._acquire_one(account_id, token, deadline)
                if acquired is not GateOutcome.AT_ONCE:
                    outcome = acquired
                if acquired is GateOutcome.TIMED_OUT:
                    break
                held.append(account_id)
        except self._redis_error as error:
            self.breaker.record_failure(error)
            return GateOutcome.BYPASSED
        self.breaker.record_success()
        return outcome

    def _acquire_one(self, account_id: UUID, token: str, deadline: float) -> GateOutcome:
        outcome = GateOutcome.AT_ONCE
        while held_for_ms := self._acquire_script(keys=_keys(account_id), args=[token, self.lease_ms]):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return GateOutcome.TIMED_OUT
            if outcome is GateOutcome.AT_ONCE:
                _close_connection()
                outcome = GateOutcome.WAITED
            self._wait(account_id, min(left_s, held_for_ms / 1000))
        return outcome

    def _wait(self, account_id: UUID, seconds: float) -> None:
        """Block until a wake-up, at most until the lease is over, plus jitter so that waiters do not try all at once."""
        seconds = min(seconds + random.uniform(0, MAX_JITTER_S), MAX_WAIT_S)  # noqa: S311  jitter needs no secrecy
        self._blocking_client.blpop(_keys(account_id)[1], timeout=seconds)

    def _release(self, held: Iterable[UUID], token: str) -> None:
        try:
            for account_id in held:
                self._release_script(keys=_keys(account_id), args=[token, round(MAX_WAIT_S * 1000)])
        except self._redis_error as error:
            self.breaker.record_failure(error)


def _keys(account_id: UUID) -> list[str]:
    """Return the keys of the lease and of the wake-up list, in braces so that a Redis Cluster keeps them together."""
    lease = f"ledger:gate:{{{account_id}}}"
    return [lease, f"{lease}:wake-up"]


def _close_connection() -> None:
    """Close this thread's database connection, which authentication has opened; the next query opens another."""
    # Not inside a transaction, as in some tests: it would be lost.
    if not connection.in_atomic_block:
        connection.close()
