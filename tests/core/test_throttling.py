"""Request throttles in a real Redis: per user and per address, refusals, and a Redis that fails."""

import logging
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.core.cache import caches
from django.db import connection
from django.test import Client
from prometheus_client import REGISTRY
from rest_framework.test import APIClient

from apps.core import throttling
from apps.core.views import Endpoint
from tests.factories import PASSWORD, client_of, new_idempotency_key
from tests.support.endpoints import ENDPOINTS, ApiWorld
from tests.support.patience import HANG_S
from tests.support.problems import assert_problem
from tests.support.redis_server import RedisServer
from tests.support.urls import API

pytestmark = pytest.mark.django_db

ME = "/api/v1/users/me/"
THREADS = 20


def statuses(client: Client, count: int, path: str = ME, **extra) -> list[int]:
    return [client.get(path, **extra).status_code for _ in range(count)]


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels)


class TestAUser:
    def test_has_so_many_requests_a_minute_with_all_tokens_together(self, limit, clock, user):
        limit(user=3)
        first, second = client_of(user), client_of(user)
        before = counted("app_requests_throttled_total", limit="user")

        assert statuses(first, 2) + statuses(second, 1) == [200, 200, 200]

        for client in (first, second):
            assert assert_problem(client.get(ME), 429, "throttled")["detail"] == "Too many requests."
        assert counted("app_requests_throttled_total", limit="user") == before + 2

    def test_is_told_when_the_minute_ends_and_is_let_in_then(self, limit, clock, client):
        limit(user=1)
        client.get(ME)

        for wait_s, after_s in ((20, 0), (1, 19), (1, 19.5), (1, 19.999)):
            clock.now = clock.start + after_s
            refusal = client.get(ME)
            assert (refusal.status_code, refusal.headers["Retry-After"]) == (429, str(wait_s))
        clock.now = clock.start + 20

        assert client.get(ME).status_code == 200
        assert client.get(ME).headers["Retry-After"] == "60"

    def test_is_not_another_and_not_an_address(self, limit, clock, client, staff):
        limit(user=1, anonymous=1)

        assert statuses(client, 2) == [200, 429]
        assert statuses(client_of(staff), 2) == [200, 429]
        assert statuses(APIClient(), 2) == [401, 429]

    def test_leaves_nothing_in_the_cache_that_names_somebody_or_stays(self, limit, clock, client, user, redis_server):
        limit(user=1, anonymous=1)
        statuses(client, 2)
        statuses(APIClient(), 2, REMOTE_ADDR="203.0.113.9")

        with redis_server.client() as server:
            keys = list(server.scan_iter())
            assert len(keys) == 2
            assert all(0 < server.ttl(key) <= 120 for key in keys)
        assert not [key for key in keys if str(user.pk) in key.decode() or "203.0.113.9" in key.decode()]


class TestAnAddress:
    def test_is_counted_where_there_is_no_token_or_none_that_is_good(self, limit, clock):
        limit(anonymous=3)
        forged = APIClient(headers={"authorization": "Token tok_x"})
        login = {"username": "nobody", "password": PASSWORD}

        assert statuses(APIClient(), 1) + statuses(forged, 1) == [401, 401]
        assert APIClient().post("/api/token/", login).status_code == 400

        for refusal in (APIClient().get(ME), forged.get(ME), APIClient().post("/api/token/", login)):
            assert_problem(refusal, 429, "throttled")
        assert statuses(APIClient(), 1, REMOTE_ADDR="203.0.113.9") == [401]

    def test_is_not_what_a_client_says_it_is(self, limit, clock):
        limit(anonymous=1)

        told = [APIClient().get(ME, headers={"X-Forwarded-For": f"203.0.113.{n}"}).status_code for n in range(2)]

        assert told == [401, 429]

    def test_is_what_our_proxy_says(self, limit, clock, settings):
        limit(anonymous=1)
        settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": 1}
        forwarded = ["198.51.100.1, 203.0.113.9", "198.51.100.2, 203.0.113.9", "198.51.100.1, 203.0.113.10"]

        told = [APIClient().get(ME, headers={"X-Forwarded-For": each}).status_code for each in forwarded]

        assert told == [401, 429, 401]

    def test_is_a_network_in_ipv6(self, limit, clock):
        limit(anonymous=1)

        assert statuses(APIClient(), 1, REMOTE_ADDR="2001:db8:0:1::1") == [401]
        assert statuses(APIClient(), 1, REMOTE_ADDR="2001:db8:0:1:ffff::") == [429]
        assert statuses(APIClient(), 1, REMOTE_ADDR="2001:db8:0:2::1") == [401]


class TestEveryView:
    def test_of_the_api_counts(self):
        views = {name: pattern.callback.cls for name, pattern in API.items() if name not in {"schema", "swagger-ui"}}

        assert views
        for name, view in views.items():
            assert issubclass(view, Endpoint), name
            assert view.throttle_classes == [throttling.RequestThrottle], name

    @pytest.mark.parametrize("endpoint", ENDPOINTS)
    def test_records_nothing_of_what_is_refused(self, limit, clock, endpoint):
        world = ApiWorld()
        limit(user=1, anonymous=1)
        who = ENDPOINTS[endpoint].who
        world.send("GET", ME, who=who)
        key = new_idempotency_key()

        world.refused(429, "throttled", world.call, endpoint, HTTP_IDEMPOTENCY_KEY=key)

        clock.now += 60
        answer = world.call(endpoint, HTTP_IDEMPOTENCY_KEY=key)
        assert answer.status_code < 300
        assert "Idempotent-Replayed" not in answer.headers

    def test_counts_what_permissions_refuse(self, limit, clock, settings):
        limit(anonymous=2)
        settings.SIGN_UP_OPEN = False

        told = [APIClient().post("/api/v1/users/", {"username": "eve", "password": PASSWORD}) for _ in range(3)]

        assert [answer.status_code for answer in told] == [403, 403, 429]

    def test_that_is_a_probe_does_not(self, limit, clock):
        limit(user=1, anonymous=1)

        for path in ("/ping/", "/livez/", "/readyz/"):
            assert statuses(Client(), 5, path) == [200] * 5


def at_once(count: int) -> Counter[int]:
    """Ask without a token, which needs no database, on many threads."""
    together = Barrier(THREADS)

    def ask(share: int) -> list[int]:
        client = APIClient()
        together.wait(timeout=HANG_S)
        try:
            return statuses(client, share)
        finally:
            caches["default"].close()
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(map(Counter, pool.map(ask, [count // THREADS] * THREADS)), Counter())


@pytest.mark.no_cover
def test_requests_at_once_do_not_slip_past_together(limit, clock):
    for number in range(3):
        limit(anonymous=50)
        clock.now = clock.start + 60 * number

        assert at_once(200) == {401: 50, 429: 150}


class TestWithoutACache:
    def test_no_limit_asks_for_none(self, limit, clock, client, redis_server):
        limit()

        assert statuses(client, 3) + statuses(APIClient(), 3) == [200] * 3 + [401] * 3

        with redis_server.client() as server:
            assert server.dbsize() == 0

    def test_requests_pass_uncounted_and_the_log_says_it_once(self, limit, clock, client, caplog):
        caplog.set_level(logging.INFO, throttling.logger.name)
        with RedisServer() as redis:
            limit(user=2, redis=redis)
            assert statuses(client, 3) == [200, 200, 429]
            before = counted("app_requests_uncounted_total")

            redis.kill()
            assert statuses(client, 5) == [200] * 5
            assert counted("app_requests_uncounted_total") == before + 5

            redis.start()
            time.sleep(0.25)
            assert statuses(client, 3) == [200, 200, 429]

        said = [record for record in caplog.records if record.name == throttling.logger.name]
        assert [record.levelname for record in said] == ["WARNING", "INFO"]
        assert said[0].getMessage().startswith("Broken: ConnectionError: ")

    def test_one_that_hangs_costs_one_request_a_moment(self, limit, clock, client, monkeypatch):
        with RedisServer() as redis:
            breaker = limit(user=2, redis=redis, timeout_s=0.25)
            breaker.pause_s = 10 * HANG_S
            client.get(ME)
            redis.freeze()
            failures = []
            record = breaker.record_failure
            monkeypatch.setattr(breaker, "record_failure", lambda error: failures.append(error) or record(error))
            assert statuses(client, 10) == [200] * 10
            redis.thaw()

        assert [type(error).__name__ for error in failures] == ["TimeoutError"]

    def test_one_that_refuses_is_none(self, limit, clock, client):
        with RedisServer() as redis:
            limit(user=1, redis=redis)
            redis.client().config_set("maxmemory", "1")

            assert statuses(client, 3) == [200] * 3
