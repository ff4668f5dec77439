"""Wrong passwords are counted in PostgreSQL, before a hash is computed.

An attempt first *reserves* a failure under three scopes (name and address, name, address) with one atomic upsert, so
that parallel guesses cannot slip past the limit together; an attempt that turns out right, or that is refused, gives its
reservation back. Only failures stay.

Where only attempts in flight stand in the way, the answer is to come back in a moment: they may all turn out right.
"""

import functools
import hashlib
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final, NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Greatest

from apps.core.client_address import rate_limit_key
from apps.users.errors import InvalidCredentials, TooManyLoginFailures
from apps.users.metrics import LOGIN_THROTTLED
from apps.users.models import LoginFailures

# Longer than a hash takes.
A_MOMENT_S: Final = 1


class FailureLimit(NamedTuple):
    """How many failures one scope allows."""

    name: str
    failures: int


class Reservation(NamedTuple):
    """One scope as it is with this attempt in it."""

    scope: str
    attempts: int
    in_flight: int
    window_ends_at: datetime


# Sorted by scope, so that two attempts lock common rows in the same order.
RESERVE = """
    INSERT INTO users_loginfailures AS failures (scope, {columns}, window_ends_at)
    SELECT scope, {ones}, %(window_ends_at)s FROM unnest(%(scopes)s::text[]) AS scope ORDER BY scope
    ON CONFLICT (scope) DO UPDATE SET
        {counted_on},
        window_ends_at = CASE WHEN failures.window_ends_at <= %(now)s THEN excluded.window_ends_at
                              ELSE failures.window_ends_at END
    RETURNING scope, count, {in_flight}, window_ends_at
"""
COUNTED_ON = "{0} = CASE WHEN failures.window_ends_at <= %(now)s THEN 1 ELSE failures.{0} + 1 END"


@functools.cache
def _knows_attempts_in_flight() -> bool:
    """Tell whether the database has migration users.0003, on whose forerunner this code must run too: docs/migrations.md.

    Without it every attempt counts as a failure while it is checked: the limits hold, and right logins at once may be told
    to come back later than need be. To be removed in the release after the one that brings the migration.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 'users_loginfailures'::regclass"
            " AND attname = 'reserved' AND NOT attisdropped"
        )
        return bool(cursor.fetchone()[0])


def _reserve() -> str:
    """Return the statement that reserves a failure for an attempt."""
    columns = ["count", "reserved"] if _knows_attempts_in_flight() else ["count"]
    return RESERVE.format(
        columns=", ".join(columns),
        ones=", ".join("1" for _ in columns),
        counted_on=", ".join(COUNTED_ON.format(column) for column in columns),
        in_flight="reserved" if "reserved" in columns else "0",
    )


@contextmanager
def limited(*, username: str, address: str, now: datetime) -> Iterator[None]:
    """Run a password check inside: InvalidCredentials raised by it is counted, anything else is not.

    Refuses: TooManyLoginFailures, before the block runs, once 15 minutes have seen the configured number of failures,
    for what is left of them; or for a moment, while attempts in flight take what is left of that number.
    Writes: three rows in one statement before the block, and again after it.
    """
    limits = _limits(username=username, address=rate_limit_key(address))
    with connection.cursor() as cursor:
        window_ends_at = now + settings.LOGIN_FAILURE_WINDOW
        cursor.execute(_reserve(), {"scopes": list(limits), "now": now, "window_ends_at": window_ends_at})
        reservations = [Reservation(*row) for row in cursor.fetchall()]
    exhausted = [each for each in reservations if each.attempts > limits[each.scope].failures]
    if exhausted:
        _settle(reservations, failures=0)
        for each in exhausted:
            LOGIN_THROTTLED.labels(limits[each.scope].name).inc()
        failed = [each for each in exhausted if each.attempts - each.in_flight >= limits[each.scope].failures]
        waits_s = [round((each.window_ends_at - now).total_seconds()) for each in failed]
        raise TooManyLoginFailures(retry_after_s=max([A_MOMENT_S, *waits_s]))
    try:
        yield
    except InvalidCredentials:
        _settle(reservations, failures=1)
        raise
    except BaseException:
        _settle(reservations, failures=0)
        raise
    else:
        _settle(reservations, failures=0)


@transaction.atomic
def _settle(reservations: list[Reservation], *, failures: int) -> None:
    """Replace the reservations by so many failures, unless their window is over: the next owes them nothing."""
    same_windows = (Q(scope=each.scope, window_ends_at=each.window_ends_at) for each in reservations)
    found = LoginFailures.objects.filter(functools.reduce(operator.or_, same_windows))
    # Sorted like the reservation: the rows are locked by a subquery in key order before they change.
    locked = found.order_by("scope").select_for_update(no_key=True)
    in_flight = {"reserved": Greatest(F("reserved") - 1, 0)} if _knows_attempts_in_flight() else {}
    LoginFailures.objects.filter(scope__in=locked.values("scope")).update(
        count=Greatest(F("count") - 1 + failures, 0), **in_flight
    )


def _limits(*, username: str, address: str) -> dict[str, FailureLimit]:
    both = FailureLimit("username_and_address", settings.LOGIN_FAILURES_PER_USERNAME_AND_ADDRESS)
    return {
        _scope("pair", username, address): both,
        _scope("username", username): FailureLimit("username", settings.LOGIN_FAILURES_PER_USERNAME),
        _scope("address", address): FailureLimit("address", settings.LOGIN_FAILURES_PER_ADDRESS),
    }


def _scope(*parts: str) -> str:
    """Return a fixed-length key, so that a user name of any length fits and none is stored."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
