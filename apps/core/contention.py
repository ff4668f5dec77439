"""Contention between commands on the same row: retries, and the two errors of a lock timeout.

A serialization failure or a deadlock is retried. A lock timeout is not: it becomes `IdempotencyKeyInProgress` if a request
under the same key is still running, else `Contention`. Clients treat both alike (409, the same key again); the codes differ
because the first means that the client's own earlier request is the one in the way.
"""

import random
import time
from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from django.db import OperationalError
from prometheus_client import Counter
from psycopg import errors as postgres

from apps.core.errors import DomainError, ErrorKind
from apps.core.idempotency import IdempotencyKeyInProgress, is_running
from apps.core.observability.metrics import with_all_label_values

MAX_TRIES: Final = 5
FIRST_BACKOFF_S: Final = 0.005
MAX_BACKOFF_S: Final = 0.1

CONTENTION: Final = with_all_label_values(
    Counter("app_contention_total", "Conflicts on a locked row, also those that a retry resolved.", ["reason"]),
    reason=("lock_timeout", "deadlock", "serialization", "key_in_progress"),
)

P = ParamSpec("P")
T = TypeVar("T")


class Contention(DomainError):
    """A row that the command needs stayed locked for longer than the lock timeout; nothing was written."""

    kind = ErrorKind.BUSY
    code = "contention"
    detail = "The resource is busy; the same request may be sent again."
    retry_after_s = 1


def retry_on_contention(function: Callable[P, T]) -> Callable[P, T]:
    """Run again after a serialization failure or a deadlock, at most `MAX_TRIES` times with full jitter.

    PostgreSQL's documentation (§13.5) requires exactly that. An idempotency key commits with its effect, so a repeat
    cannot have it twice.
    Raises: Contention when the tries are used up, or at a lock timeout.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        backoff_s = FIRST_BACKOFF_S
        for _ in range(MAX_TRIES):
            try:
                return function(*args, **kwargs)
            except OperationalError as error:
                _count(error)
                if isinstance(error.__cause__, postgres.LockNotAvailable):
                    raise Contention from error
                if not isinstance(error.__cause__, postgres.SerializationFailure | postgres.DeadlockDetected):
                    raise
            time.sleep(random.uniform(0, backoff_s))  # noqa: S311  jitter needs no secrecy
            backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)
        raise Contention

    return run


def lock_timeout_error(
    scope: object, idempotency_key: str, *, waited_for_key: bool = False
) -> Contention | IdempotencyKeyInProgress:
    """Return the error for a lock timeout, and count it.

    scope: the id of the row (a user, an account) within which the idempotency key is unique.
    waited_for_key: whether the lock is known to be that of a row under the same key.
    """
    same_key = waited_for_key or is_running(scope=scope, key=idempotency_key)
    CONTENTION.labels("key_in_progress" if same_key else "lock_timeout").inc()
    return IdempotencyKeyInProgress() if same_key else Contention()


def _count(error: OperationalError) -> None:
    """Count an error by which PostgreSQL reports a conflict; ignore any other."""
    match error.__cause__:
        case postgres.LockNotAvailable():
            CONTENTION.labels("lock_timeout").inc()
        case postgres.DeadlockDetected():
            CONTENTION.labels("deadlock").inc()
        case postgres.SerializationFailure():
            CONTENTION.labels("serialization").inc()
