"""Attempts in flight, and a database that does not know of them; what the limits are is in tests/users/test_api.py."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from unittest.mock import patch

import pytest
from django.contrib.auth import authenticate
from django.db import connection
from django.db.models import Max
from django.utils import timezone

from apps.users import login_limits
from apps.users.models import LoginFailures
from tests.factories import UserFactory
from tests.support.api import log_in
from tests.support.patience import HANG_S
from tests.support.problems import assert_problem

pytestmark = pytest.mark.django_db


class TestAttemptsInFlight:
    @pytest.mark.django_db(transaction=True)
    def test_many_right_logins_at_once_lock_nobody_out(self):
        user, all_are_in_flight = UserFactory(), threading.Barrier(10 + 1)

        def wait_and_check(**credentials):
            all_are_in_flight.wait(timeout=HANG_S)
            return authenticate(**credentials)

        def attempt(_):
            try:
                return log_in(user.username).status_code
            finally:
                connection.close()

        with patch("apps.users.use_cases.log_in.authenticate", wait_and_check), ThreadPoolExecutor(10) as pool:
            first = pool.map(attempt, range(10))
            while LoginFailures.objects.aggregate(most=Max("count"))["most"] != 10:
                time.sleep(0.01)
            eleventh = log_in(user.username)
            all_are_in_flight.wait(timeout=HANG_S)
            assert list(first) == [200] * 10

        # It is not checked, for it might be a guess; and it is right a moment later.
        assert_problem(eleventh, 429, "throttled")
        assert eleventh.headers["Retry-After"] == "1"
        assert log_in(user.username).status_code == 200
        assert not LoginFailures.objects.exclude(count=0, reserved=0).exists()

    def test_an_attempt_from_the_window_before_takes_nothing_from_this_one(self, user):
        def check(**credentials):
            LoginFailures.objects.update(window_ends_at=timezone.now() + timedelta(minutes=10), count=10, reserved=0)
            return authenticate(**credentials)

        with patch("apps.users.use_cases.log_in.authenticate", check):
            assert log_in(user.username).status_code == 200

        assert_problem(log_in(user.username), 429, "throttled")


class TestTheSchemaBefore:
    @pytest.fixture(autouse=True)
    def schema(self, db) -> Iterator[None]:
        """As migration users.0003 found it, until the test's transaction is undone."""
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE users_loginfailures DROP COLUMN reserved")
        login_limits._knows_attempts_in_flight.cache_clear()
        yield
        login_limits._knows_attempts_in_flight.cache_clear()

    def test_counts_failures_and_refuses_what_is_too_many(self, user):
        assert log_in(user.username).status_code == 200
        for _ in range(10):
            assert_problem(log_in(user.username, "wrong"), 400, "invalid_credentials")

        response = log_in(user.username)

        assert_problem(response, 429, "throttled")
        assert 890 <= int(response.headers["Retry-After"]) <= 900

    def test_successes_are_not_counted(self, user):
        assert {log_in(user.username).status_code for _ in range(12)} == {200}
