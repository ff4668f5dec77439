"""Reservations of login attempts, in flight and released; tests/users/test_api.py has the limits themselves."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from unittest.mock import patch

import pytest
from django.contrib.auth import authenticate
from django.db import connection
from django.db.models import Max
from django.utils import timezone

from apps.users.models import LoginFailures, User
from tests.factories import UserFactory
from tests.support.api import log_in
from tests.support.patience import HANG_S
from tests.support.problems import assert_problem

pytestmark = pytest.mark.django_db


class TestAttemptsInFlight:
    @pytest.mark.django_db(transaction=True)
    @pytest.mark.usefixtures("_all_the_time")
    def test_many_right_logins_at_once_lock_nobody_out(self):
        user, all_are_in_flight = UserFactory(), threading.Barrier(10 + 1)

        def wait_and_check(**credentials):
            all_are_in_flight.wait(timeout=HANG_S)
            return authenticate(**credentials)

        def log_in_once(_):
            try:
                return log_in(user.username).status_code
            finally:
                connection.close()

        with patch("apps.users.use_cases.log_in.authenticate", wait_and_check), ThreadPoolExecutor(10) as pool:
            first = pool.map(log_in_once, range(10))
            while LoginFailures.objects.aggregate(most=Max("count"))["most"] != 10:
                time.sleep(0.01)
            eleventh = log_in(user.username)
            all_are_in_flight.wait(timeout=HANG_S)
            assert list(first) == [200] * 10

        # It might be a guess, so it is not checked; a second later it succeeds.
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


class TestReservations:
    def test_an_unexpected_error_is_no_failure(self, user):
        with (
            patch("apps.users.use_cases.log_in.authenticate", side_effect=ZeroDivisionError),
            pytest.raises(ZeroDivisionError),
        ):
            log_in(user.username)

        assert list(LoginFailures.objects.values_list("count", "reserved")) == [(0, 0)] * 3

    def test_a_refusal_after_the_right_password_is_no_failure(self, user):
        def check_and_deactivate(**credentials):
            found = authenticate(**credentials)
            User.objects.filter(pk=user.pk).update(is_active=False)
            return found

        with patch("apps.users.use_cases.log_in.authenticate", check_and_deactivate):
            assert_problem(log_in(user.username), 400, "invalid_credentials")

        assert list(LoginFailures.objects.values_list("count", "reserved")) == [(0, 0)] * 3

    def test_a_refused_attempt_releases_what_it_reserved(self, user):
        for _ in range(12):
            log_in(user.username, "wrong")

        assert list(LoginFailures.objects.values_list("count", "reserved")) == [(10, 0)] * 3
