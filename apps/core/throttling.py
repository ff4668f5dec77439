"""How many requests one user, or one address that is nobody's yet, may send in a minute.

They are counted in the shared cache (Redis), by all workers and servers together: INCR of a key that has the minute in its
name, so that requests at once cannot slip past the limit together. DRF's own throttles read a list, change it and write it
back, which loses counts. The minute is the clock's and not the client's first, so up to twice the limit fits around its
end.

It fails open, like the ledger's gate: this spares the service a flood and protects no secret, so while the cache is gone,
slow or wrong, requests pass uncounted, which a metric counts and the log says once. Passwords are counted in PostgreSQL,
always (`apps.users.login_attempts`).

Not counted: probes; what is refused before a view looks at who is asking (a wrong host, plain HTTP, a body that is too
large, a method that nobody may use, an unknown path), none of which touches the database; the admin.
"""

import hashlib
import logging
import math
import time
from typing import Final, NamedTuple

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from apps.core.circuit_breaker import CircuitBreaker
from apps.core.client_address import rate_limit_key
from apps.core.observability.metrics import REQUESTS_THROTTLED, REQUESTS_UNCOUNTED

logger = logging.getLogger(__name__)

WINDOW_S: Final = 60
CACHE_PAUSE_S: Final = 1.0

breaker: Final = CircuitBreaker(
    CACHE_PAUSE_S,
    logger=logger,
    broken="The cache that counts requests fails, so they pass uncounted",
    healed="The cache that counts requests answers again.",
)


class RateLimit(NamedTuple):
    """How many requests of whom."""

    name: str
    requests: int
    whose: str


class RequestThrottle(BaseThrottle):
    """Counts a request under its user or, where nobody is authenticated, under its address; 0 is no limit."""

    def allow_request(self, request: Request, view: object) -> bool:
        limit = _limit(request)
        if not limit.requests:
            return True
        minute = int(time.time() // WINDOW_S)
        self._ends_at = (minute + 1) * WINDOW_S
        count = _count(f"throttle:{limit.name}:{_digest(limit.whose)}:{minute}")
        if count <= limit.requests:
            return True
        REQUESTS_THROTTLED.labels(limit.name).inc()
        return False

    def wait(self) -> float:
        """Return the seconds until the next minute, rounded up: a moment before it nothing has changed."""
        return max(1, math.ceil(self._ends_at - time.time()))


def address_of(request: HttpRequest | Request) -> str:
    """Return the client's address as it came, believing exactly `NUM_PROXIES` entries of X-Forwarded-For (DRF's rule).

    Whatever counts it counts its `rate_limit_key`.
    """
    return BaseThrottle().get_ident(request)  # type: ignore[arg-type]  # it reads META, which both have


def _limit(request: Request) -> RateLimit:
    if request.user.is_authenticated:
        return RateLimit("user", settings.THROTTLE_USER_PER_MINUTE, str(request.user.pk))
    return RateLimit("anonymous", settings.THROTTLE_ANONYMOUS_PER_MINUTE, rate_limit_key(address_of(request)))


def _count(key: str) -> int:
    """Count one more under a key and return how many those are; 0 if nobody could count."""
    if not breaker.allows_request():
        REQUESTS_UNCOUNTED.inc()
        return 0
    try:
        count = _increment(key)
    # Each backend has errors of its own, and none of them is the client's fault.
    except Exception as error:  # noqa: BLE001
        breaker.record_failure(error)
        REQUESTS_UNCOUNTED.inc()
        return 0
    breaker.record_success()
    return count


def _increment(key: str) -> int:
    try:
        return int(cache.incr(key))
    except ValueError:
        # The first of its minute. Of several that are first at once one adds the key, and all are counted by it.
        cache.add(key, 0, timeout=2 * WINDOW_S)
        return int(cache.incr(key))


def _digest(whose: str) -> str:
    """Return a fixed-length name, so that the cache holds nobody's address and no odd character."""
    return hashlib.sha256(whose.encode("utf-8", "surrogatepass")).hexdigest()
