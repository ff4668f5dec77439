"""Request rate limits: requests a minute of one user, or of one address without a valid token.

All workers and servers count together in the shared cache (Redis), by INCR of a key that contains the minute: concurrent
requests cannot pass the limit together. DRF's own throttles read a list, change it and write it back, which loses counts.
The window is a minute of the clock and does not begin with a client's first request, so up to twice the limit fits around
its end.

It fails open: the limit protects the service from a flood and protects no secret. While the cache
is down, slow or faulty, requests pass uncounted; a metric counts them, and the log has one line. Failed passwords are always
counted, in PostgreSQL (`apps.users.login_attempts`).

Not counted: probes; requests that are refused before authentication (a wrong host, plain HTTP, a body that is too large, a
method that is not allowed, an unknown path), none of which touches the database; the admin.
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
# An alarm looks for it: deploy/ecs/terraform/environment/alarms.tf.
BROKEN: Final = "The cache that counts requests fails, so they pass uncounted"

breaker: Final = CircuitBreaker(
    CACHE_PAUSE_S,
    logger=logger,
    broken=BROKEN,
    healed="The cache that counts requests answers again.",
)


class RateLimit(NamedTuple):
    """A limit in requests a minute, and the key that it counts: a user id or a client address."""

    name: str
    requests: int
    key: str


class RequestThrottle(BaseThrottle):
    """Counts a request under its user or, if it is not authenticated, under its address; 0 is no limit."""

    def allow_request(self, request: Request, view: object) -> bool:
        limit = _limit(request)
        if not limit.requests:
            return True
        minute = int(time.time() // WINDOW_S)
        self._ends_at = (minute + 1) * WINDOW_S
        count = _count(f"throttle:{limit.name}:{_digest(limit.key)}:{minute}")
        if count <= limit.requests:
            return True
        REQUESTS_THROTTLED.labels(limit.name).inc()
        return False

    def wait(self) -> float:
        """Return the seconds until the next minute, rounded up: a client that waits less is refused again."""
        return max(1, math.ceil(self._ends_at - time.time()))


def address_of(request: HttpRequest | Request) -> str:
    """Return the client's address as sent, trusting exactly `NUM_PROXIES` entries of X-Forwarded-For (DRF's rule).

    Count its `rate_limit_key`, not the address itself.
    """
    return BaseThrottle().get_ident(request)  # type: ignore[arg-type]  # it reads META, which both have


def _limit(request: Request) -> RateLimit:
    if request.user.is_authenticated:
        return RateLimit("user", settings.THROTTLE_USER_PER_MINUTE, str(request.user.pk))
    return RateLimit("anonymous", settings.THROTTLE_ANONYMOUS_PER_MINUTE, rate_limit_key(address_of(request)))


def _count(key: str) -> int:
    """Count one request under a key and return the count; 0 if the cache failed."""
    if not breaker.allows_request():
        REQUESTS_UNCOUNTED.inc()
        return 0
    try:
        count = _increment(key)
    # Each cache backend has its own exceptions, and none of them is the client's fault.
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
        # The first request of its minute. Of several at once, one adds the key and all increment it.
        cache.add(key, 0, timeout=2 * WINDOW_S)
        return int(cache.incr(key))


def _digest(key: str) -> str:
    """Return a name of fixed length, so that the cache contains no address and no special character."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
