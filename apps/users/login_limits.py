"""Wrong passwords are counted in PostgreSQL, before a hash is computed.

An attempt first *reserves* a failure under three scopes (name and address, name, address) with one atomic upsert, so
that parallel guesses cannot slip past the limit together; an attempt that turns out right, or that is refused, gives its
reservation back. Only failures stay.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Greatest

from apps.users.errors import InvalidCredentials, TooManyLoginFailures
from apps.users.metrics import LOGIN_THROTTLED
from apps.users.models import LoginFailures


class Limit(NamedTuple):
    """How many failures one scope allows."""

    name: str
    failures: int


# Sorted by scope, so that two attempts lock common rows in the same order.
RESERVE = """
    INSERT INTO users_loginfailures AS failures (scope, count, window_ends_at)
    SELECT scope, 1, %(window_ends_at)s FROM unnest(%(scopes)s::text[]) AS scope ORDER BY scope
    ON CONFLICT (scope) DO UPDATE SET
        count = CASE WHEN failures.window_ends_at <= %(now)s THEN 1 ELSE failures.count + 1 END,
        window_ends_at = CASE WHEN failures.window_ends_at <= %(now)s THEN excluded.window_ends_at
                              ELSE failures.window_ends_at END
    RETURNING scope, count, window_ends_at
"""


@contextmanager
def limited(*, username: str, address: str, now: datetime) -> Iterator[None]:
    """Run a password check inside: InvalidCredentials raised by it is counted, anything else is not.

    Refuses: TooManyLoginFailures, before the block runs, once 15 minutes have seen the configured number of failures.
    Writes: three rows in one statement before the block, and again after it unless it failed.
    """
    limits = _limits(username=username, address=address)
    with connection.cursor() as cursor:
        window_ends_at = now + settings.LOGIN_FAILURE_WINDOW
        cursor.execute(RESERVE, {"scopes": list(limits), "now": now, "window_ends_at": window_ends_at})
        reserved = cursor.fetchall()
    exhausted = {limits[scope].name: ends_at for scope, count, ends_at in reserved if count > limits[scope].failures}
    if exhausted:
        _give_back(limits)
        for name in exhausted:
            LOGIN_THROTTLED.labels(name).inc()
        raise TooManyLoginFailures(retry_after_s=max(1, round((max(exhausted.values()) - now).total_seconds())))
    try:
        yield
    except InvalidCredentials:
        raise
    except BaseException:
        _give_back(limits)
        raise
    else:
        _give_back(limits)


@transaction.atomic
def _give_back(limits: dict[str, Limit]) -> None:
    # Sorted like the reservation: the rows are locked by a subquery in key order before they change.
    locked = LoginFailures.objects.filter(scope__in=limits).order_by("scope").select_for_update(no_key=True)
    LoginFailures.objects.filter(scope__in=locked.values("scope")).update(count=Greatest(F("count") - 1, 0))


def _limits(*, username: str, address: str) -> dict[str, Limit]:
    both = Limit("username_and_address", settings.LOGIN_FAILURES_PER_USERNAME_AND_ADDRESS)
    return {
        _scope("pair", username, address): both,
        _scope("username", username): Limit("username", settings.LOGIN_FAILURES_PER_USERNAME),
        _scope("address", address): Limit("address", settings.LOGIN_FAILURES_PER_ADDRESS),
    }


def _scope(*parts: str) -> str:
    """Return a fixed-length key, so that a user name of any length fits and none is stored."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
