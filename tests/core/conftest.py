"""Fixtures of the request throttle: a Redis, its limits and its clock."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from apps.core import throttling
from apps.core.circuit_breaker import CircuitBreaker
from tests.support.patience import HANG_S
from tests.support.redis_server import RedisServer

# Twenty seconds before a minute is over.
NOW = 1_800_000_040.0


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def limit(settings, redis_server, monkeypatch) -> Callable[..., CircuitBreaker]:
    """Set the limits and count from nothing, in a Redis that is there."""

    def set_to(
        *, user: int = 0, anonymous: int = 0, redis: RedisServer = redis_server, timeout_s: float = HANG_S
    ) -> CircuitBreaker:
        with redis.client() as client:
            client.flushall()
        settings.CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": redis.url,
                "OPTIONS": {"socket_connect_timeout": timeout_s, "socket_timeout": timeout_s},
            }
        }
        settings.THROTTLE_USER_PER_MINUTE, settings.THROTTLE_ANONYMOUS_PER_MINUTE = user, anonymous
        breaker = CircuitBreaker(0.1, logger=throttling.logger, broken="Broken", healed="Healed")
        monkeypatch.setattr(throttling, "breaker", breaker)
        return breaker

    return set_to


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """The throttle's clock."""
    clock = SimpleNamespace(start=NOW, now=NOW)
    monkeypatch.setattr(throttling, "time", SimpleNamespace(time=lambda: clock.now))
    return clock
