"""Login attempts: limits on wrong passwords, login metrics, and lines of the audit log.

Wrong passwords are counted in PostgreSQL, before a hash is computed. An attempt first *reserves* a failure under three
scopes (name and address, name, address) with one atomic upsert, so that parallel guesses cannot slip past the limit
together. The reservation is released once the password matches or the attempt is refused: only failures stay counted.

Attempts in flight may all turn out to be right. Where only they exhaust a limit, Retry-After is MIN_RETRY_AFTER_S.
"""

import functools
import hashlib
import logging
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Greatest
from django.utils import timezone

from apps.core.client_address import rate_limit_key
from apps.users.audit_log import logger
from apps.users.errors import InvalidCredentials, TooManyLoginFailures
from apps.users.metrics import LOGIN_THROTTLED, LOGINS
from apps.users.models import LoginFailures, User

Channel = Literal["api", "admin"]
Action = Literal["login", "password change"]
LoginOutcome = Literal["succeeded", "failed", "throttled"]

EVENTS: Final[dict[LoginOutcome, tuple[int, str]]] = {
    "succeeded": (logging.INFO, "%s succeeded"),
    "failed": (logging.WARNING, "%s failed"),
    "throttled": (logging.WARNING, "%s limited"),
}

# Longer than a hash takes.
MIN_RETRY_AFTER_S: Final = 1

# Sorted by scope, so that two attempts lock common rows in the same order.
RESERVE: Final = """
    INSERT INTO users_loginfailures AS failures (scope, count, reserved, window_ends_at)
    SELECT scope, 1, 1, %(window_ends_at)s FROM unnest(%(scopes)s::text[]) AS scope ORDER BY scope
    ON CONFLICT (scope) DO UPDATE SET
        count = CASE WHEN failures.window_ends_at <= %(now)s THEN 1 ELSE failures.count + 1 END,
        reserved = CASE WHEN failures.window_ends_at <= %(now)s THEN 1 ELSE failures.reserved + 1 END,
        window_ends_at = CASE WHEN failures.window_ends_at <= %(now)s THEN excluded.window_ends_at
                              ELSE failures.window_ends_at END
    RETURNING scope, count, reserved, window_ends_at
"""


class FailureLimit(NamedTuple):
    """The number of failures that one scope allows in a window."""

    name: str
    failures: int


class Reservation(NamedTuple):
    """The row of one scope, with this attempt counted in it."""

    scope: str
    attempts: int
    in_flight: int
    window_ends_at: datetime


@dataclass(kw_only=True)
class LoginAttempt:
    """An attempt in progress, for the block inside `login_attempt`."""

    action: Action
    channel: Channel
    user_id: UUID | None
    """Logged with the outcome; None while the user is unknown."""
    reservations: list[Reservation] = field(default_factory=list)

    def password_matched(self, user: User) -> None:
        """Identify the user and release the reservation: a later refusal is logged, but counts against no limit."""
        self.user_id = user.pk
        self.release(failures=0)

    def release(self, *, failures: int) -> None:
        """Replace the reservations, unless they are released already, by this number of failures."""
        reservations, self.reservations = self.reservations, []
        if reservations:
            _release(reservations, failures=failures)

    def record(self, outcome: LoginOutcome) -> None:
        """Log the outcome, and count that of a login."""
        level, event = EVENTS[outcome]
        logger.log(level, event, self.action, extra={"user_id": self.user_id, "channel": self.channel})
        if self.action == "login":
            LOGINS.labels(outcome).inc()


@contextmanager
def login_attempt(
    *,
    username: str,
    address: str,
    channel: Channel,
    action: Action = "login",
    user_id: UUID | None = None,
) -> Iterator[LoginAttempt]:
    """Check a password in the block: under the failure limits, and logged and counted by its outcome.

    The block raises InvalidCredentials for a wrong password and calls `password_matched` for a right one. Any other
    exception is no outcome: it counts as no failure and passes through.

    Raises: TooManyLoginFailures before the block runs, once LOGIN_FAILURE_WINDOW has seen the configured number of
    failures, for the rest of the window; or for MIN_RETRY_AFTER_S while attempts in flight take the rest of that number.
    Writes: three rows in one statement before the block, and again when the reservation is released.
    """
    attempt = LoginAttempt(action=action, channel=channel, user_id=user_id)
    try:
        attempt.reservations = _reserve(username=username, address=rate_limit_key(address))
        yield attempt
        attempt.release(failures=0)
    except InvalidCredentials:
        attempt.release(failures=1)
        attempt.record("failed")
        raise
    except TooManyLoginFailures:
        attempt.record("throttled")
        raise
    except BaseException:
        attempt.release(failures=0)
        raise
    attempt.record("succeeded")


def _reserve(*, username: str, address: str) -> list[Reservation]:
    """Reserve a failure under each scope. Raises TooManyLoginFailures, and reserves nothing, if a limit is exhausted."""
    limits = _limits(username=username, address=address)
    now = timezone.now()
    window_ends_at = now + settings.LOGIN_FAILURE_WINDOW
    with connection.cursor() as cursor:
        cursor.execute(RESERVE, {"scopes": list(limits), "now": now, "window_ends_at": window_ends_at})
        reservations = [Reservation(*row) for row in cursor.fetchall()]
    exhausted = [each for each in reservations if each.attempts > limits[each.scope].failures]
    if exhausted:
        _release(reservations, failures=0)
        for each in exhausted:
            LOGIN_THROTTLED.labels(limits[each.scope].name).inc()
        failed = [each for each in exhausted if each.attempts - each.in_flight >= limits[each.scope].failures]
        waits_s = [round((each.window_ends_at - now).total_seconds()) for each in failed]
        raise TooManyLoginFailures(retry_after_s=max([MIN_RETRY_AFTER_S, *waits_s]))
    return reservations


@transaction.atomic
def _release(reservations: list[Reservation], *, failures: int) -> None:
    """Replace the reservations by this number of failures, unless their window is over: the next one lacks them.

    Locks: the rows, by a subquery in the order of their keys, as the reservation does.
    """
    same_windows = (Q(scope=each.scope, window_ends_at=each.window_ends_at) for each in reservations)
    found = LoginFailures.objects.filter(functools.reduce(operator.or_, same_windows))
    locked = found.order_by("scope").select_for_update(no_key=True)
    LoginFailures.objects.filter(scope__in=locked.values("scope")).update(
        count=Greatest(F("count") - 1 + failures, 0), reserved=Greatest(F("reserved") - 1, 0)
    )


def _limits(*, username: str, address: str) -> dict[str, FailureLimit]:
    """Return the three limits of an attempt by scope."""
    both = FailureLimit("username_and_address", settings.LOGIN_FAILURES_PER_USERNAME_AND_ADDRESS)
    return {
        _scope("pair", username, address): both,
        _scope("username", username): FailureLimit("username", settings.LOGIN_FAILURES_PER_USERNAME),
        _scope("address", address): FailureLimit("address", settings.LOGIN_FAILURES_PER_ADDRESS),
    }


def _scope(*parts: str) -> str:
    """Return a key of fixed length, so that a user name of any length fits and none is stored."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
