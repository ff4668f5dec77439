"""Contention between commands on the same account: retries, the two errors of a lock timeout, and the optional gate.

A serialization failure or a deadlock is retried. A lock timeout is not: it becomes `IdempotencyKeyInProgress` if a request
under the same key is still running, else `Contention`. Clients treat both alike (409, the same key again); the codes differ
because the first means that the client's own earlier request is the one in the way.
"""

import random
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Final, ParamSpec, Protocol, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import OperationalError
from django.utils.module_loading import import_string
from psycopg import errors as postgres

from apps.core.idempotency import IdempotencyKeyInProgress, is_running
from apps.ledger.errors import Contention
from apps.ledger.metrics import CONTENTION, count_contention

MAX_TRIES: Final = 5
FIRST_BACKOFF_S: Final = 0.005
MAX_BACKOFF_S: Final = 0.1

P = ParamSpec("P")
T = TypeVar("T")


def retry_on_contention(function: Callable[P, T]) -> Callable[P, T]:
    """Run again after a serialization failure or a deadlock, at most `MAX_TRIES` times with full jitter.

    PostgreSQL's documentation (§13.5) requires exactly that. The idempotency key commits with the money, so a repeat
    cannot move it twice.
    Raises: Contention when the tries are used up, or at a lock timeout.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        backoff_s = FIRST_BACKOFF_S
        for _ in range(MAX_TRIES):
            try:
                return function(*args, **kwargs)
            except OperationalError as error:
                count_contention(error)
                if isinstance(error.__cause__, postgres.LockNotAvailable):
                    raise Contention from error
                if not isinstance(error.__cause__, postgres.SerializationFailure | postgres.DeadlockDetected):
                    raise
            time.sleep(random.uniform(0, backoff_s))  # noqa: S311  jitter needs no secrecy
            backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)
        raise Contention

    return run


def lock_timeout_error(
    scope: UUID, idempotency_key: str, *, waited_for_key: bool = False
) -> Contention | IdempotencyKeyInProgress:
    """Return the error for a lock timeout, and count it.

    scope: the account or the user within which the idempotency key is unique.
    waited_for_key: whether the lock is known to be that of a row under the same key.
    """
    same_key = waited_for_key or is_running(scope=scope, key=idempotency_key)
    CONTENTION.labels("key_in_progress" if same_key else "lock_timeout").inc()
    return IdempotencyKeyInProgress() if same_key else Contention()


class Gate(Protocol):
    """A queue in front of the database for the commands on an account; it may delay a command, never refuse it."""

    def acquire(self, account_ids: Iterable[UUID]) -> AbstractContextManager[object]: ...


def get_gate() -> Gate | None:
    """Return the gate that `LEDGER_GATE_FACTORY` makes, or None where the setting is absent or the gate is off."""
    factory = getattr(settings, "LEDGER_GATE_FACTORY", None)
    gate: Gate | None = import_string(factory)() if factory else None
    return gate
