"""An optional gate before the books: per account, one command at a time goes on to the database.

It is for accounts so busy that their waiters would use up the database's connections and keep every other account out.
Behind the gate they wait in Redis, and hold no connection of the database's meanwhile. `LEDGER_GATE` is "off" by default.

Removing the gate changes latency, never balances. What it hands out is a lease and not a lock: it ends by the clock, even
if its holder is merely slow, there is no fencing token, and a failover of Redis may grant it twice. So nothing is decided
here; `posting`'s statement is as right with a hundred inside as with one. docs/adr/0005-gate-not-lock.md says more.

It fails open. A wait that takes too long ends inside, not in a refusal, and if Redis is down, slow or wrong, commands go
straight to the database.

Note [Bells]
Whoever leaves rings the account's bell: a list of at most one element, for which waiters queue by BLPOP. So the next one
is awake within a round trip, roughly in the order of asking, and nobody polls. A bell only says "try again": one that is
lost costs a nap, a false one costs a try. Therefore a holder rings also when its lease is over or was flushed away.
"""

import logging
import random
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from uuid import UUID

from django.conf import settings
from django.db import connection

from apps.core.circuit_breaker import CircuitBreaker
from apps.ledger.metrics import GATE_WAIT

logger = logging.getLogger(__name__)

# Redis answers in less than a millisecond; one that needs this long is treated as absent, for as long as the pause.
REDIS_TIMEOUT_S = 0.25
REDIS_PAUSE_S = 1.0
# How long a waiter sleeps if no bell rings, and the jitter after a lease that nobody gave back.
LONGEST_NAP_S = 0.5
MAX_JITTER_S = 0.05

# Takes the lease and returns 0, or returns for how many milliseconds somebody else has it.
TAKE = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
    redis.call('DEL', KEYS[2])
    return 0
end
return math.max(redis.call('PTTL', KEYS[1]), 1)
"""
# Gives the lease back if it is still one's own, and rings. See Note [Bells].
GIVE_BACK = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('DEL', KEYS[1])
end
if redis.call('EXISTS', KEYS[2]) == 0 then
    redis.call('RPUSH', KEYS[2], '1')
    redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
"""


class Outcome(StrEnum):
    """How a command came past the gate."""

    OFF = "off"
    AT_ONCE = "at_once"
    WAITED = "waited"
    # Went on without the lease: the wait was used up, or Redis could not be asked.
    OVERDUE = "overdue"
    BYPASSED = "bypassed"


COUNTED_AS = {
    Outcome.AT_ONCE: "entered",
    Outcome.WAITED: "entered",
    Outcome.OVERDUE: "timed_out",
    Outcome.BYPASSED: "open",
}


@contextmanager
def admitted(account_ids: Iterable[UUID]) -> Iterator[Outcome]:
    """Let the block run when the accounts are free, or after the longest wait; see `RedisGate`."""
    gate = prepare()
    if gate is None:
        yield Outcome.OFF
        return
    with gate.admitted(account_ids) as outcome:
        yield outcome


def prepare() -> "RedisGate | None":
    """Return the gate that the settings ask for, one a process, or None. Raises: ValueError for a URL of another kind."""
    if settings.LEDGER_GATE == "off":
        return None
    return _gate(settings.REDIS_URL, settings.LEDGER_GATE_LEASE, settings.LEDGER_GATE_WAIT)


class RedisGate:
    """The gate that all processes share through one Redis (6 or newer, or Valkey).

    lease_s: after this long an account is free again although its holder has not given it back.
    wait_s: the longest that one command waits, for all its accounts together.
    """

    def __init__(self, url: str, *, lease_s: float, wait_s: float) -> None:
        # Not at the top: whoever leaves the gate off does not load a client of a tenth of a second.
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
        self._patient = client(LONGEST_NAP_S + REDIS_TIMEOUT_S)
        prompt = client(REDIS_TIMEOUT_S)
        self._take = prompt.register_script(TAKE)
        self._give_back = prompt.register_script(GIVE_BACK)

    @contextmanager
    def admitted(self, account_ids: Iterable[UUID]) -> Iterator[Outcome]:
        """Hold the accounts' leases during the block, where they are to be had; never raises because of Redis."""
        token, taken = secrets.token_hex(16), list[UUID]()
        try:
            start = time.monotonic()
            outcome = self._enter(account_ids, token, taken)
            GATE_WAIT.labels(COUNTED_AS[outcome]).observe(time.monotonic() - start)
            yield outcome
        finally:
            self._leave(taken, token)

    def _enter(self, account_ids: Iterable[UUID], token: str, taken: list[UUID]) -> Outcome:
        if not self.breaker.allows_request():
            return Outcome.BYPASSED
        deadline = time.monotonic() + self.wait_s
        outcome = Outcome.AT_ONCE
        try:
            # In the order in which `posting` locks them, so that no two commands wait for each other.
            for account_id in sorted(set(account_ids)):
                while (taken_for_ms := self._take(keys=_keys(account_id), args=[token, self.lease_ms])) and (
                    left_s := deadline - time.monotonic()
                ) > 0:
                    if outcome is Outcome.AT_ONCE:
                        _let_go_of_the_database()
                        outcome = Outcome.WAITED
                    self._nap(account_id, min(left_s, taken_for_ms / 1000))
                if taken_for_ms:
                    outcome = Outcome.OVERDUE
                    break
                taken.append(account_id)
        except self._redis_error as error:
            self.breaker.record_failure(error)
            return Outcome.BYPASSED
        self.breaker.record_success()
        return outcome

    def _nap(self, account_id: UUID, seconds: float) -> None:
        """Sleep until the bell rings; at the latest when the lease is over, not all waiters at the same moment."""
        seconds = min(seconds + random.uniform(0, MAX_JITTER_S), LONGEST_NAP_S)  # noqa: S311  jitter needs no secrecy
        self._patient.blpop(_keys(account_id)[1], timeout=seconds)

    def _leave(self, taken: Iterable[UUID], token: str) -> None:
        try:
            for account_id in taken:
                self._give_back(keys=_keys(account_id), args=[token, round(LONGEST_NAP_S * 1000)])
        except self._redis_error as error:
            self.breaker.record_failure(error)


@cache
def _gate(url: str, lease_s: float, wait_s: float) -> RedisGate:
    return RedisGate(url, lease_s=lease_s, wait_s=wait_s)


def _keys(account_id: UUID) -> list[str]:
    """Return the keys of the lease and of the bell, in braces so that a Redis Cluster keeps them together."""
    lease = f"ledger:gate:{{{account_id}}}"
    return [lease, f"{lease}:bell"]


def _let_go_of_the_database() -> None:
    """Close this thread's connection, which authentication has opened; the next query opens another."""
    # Inside a transaction (tests) there is one that must not be lost.
    if not connection.in_atomic_block:
        connection.close()
