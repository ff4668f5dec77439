"""Login metrics."""

import pytest
from rest_framework.test import APIClient

from tests.factories import PASSWORD
from tests.support.metric_deltas import counting

pytestmark = pytest.mark.django_db


@pytest.fixture
def logins():
    return counting("app_logins")


@pytest.fixture
def throttled():
    return counting("app_login_throttled")


def log_in(username, password=PASSWORD, **extra):
    return APIClient().post("/api/token/", {"username": username, "password": password}, **extra).status_code


def test_each_login_is_counted_by_outcome(user, logins, throttled, settings):
    settings.LOGIN_FAILURES_PER_USERNAME_AND_ADDRESS = 2

    answers = [log_in(user.username), *(log_in(user.username, "wrong") for _ in range(2)), log_in(user.username)]

    assert answers == [200, 400, 400, 429]
    assert logins() == {"succeeded": 1, "failed": 2, "throttled": 1}
    assert throttled() == {"username_and_address": 1}


@pytest.mark.parametrize(
    ("setting", "limit"),
    [
        ("LOGIN_FAILURES_PER_USERNAME_AND_ADDRESS", "username_and_address"),
        ("LOGIN_FAILURES_PER_USERNAME", "username"),
        ("LOGIN_FAILURES_PER_ADDRESS", "address"),
    ],
)
def test_the_limit_that_refused_is_named(user, throttled, settings, setting, limit):
    setattr(settings, setting, 1)
    log_in(user.username, "wrong")

    log_in(user.username)

    assert throttled() == {limit: 1}


def test_one_attempt_may_have_reached_several_limits(user, throttled, settings):
    settings.LOGIN_FAILURES_PER_USERNAME = settings.LOGIN_FAILURES_PER_ADDRESS = 1
    log_in(user.username, "wrong")

    log_in(user.username)

    assert throttled() == {"username": 1, "address": 1}


def test_guesses_at_a_password_change_are_throttled_and_are_no_logins(client, logins, throttled, settings):
    settings.LOGIN_FAILURES_PER_USERNAME_AND_ADDRESS = 1
    for _ in range(2):
        client.post("/api/v1/users/me/password/", {"current_password": "wrong", "new_password": "a quite new phrase"})

    assert throttled() == {"username_and_address": 1}
    assert logins() == {}


def test_an_invalid_body_is_not_counted(user, logins):
    APIClient().post("/api/token/", {"username": user.username})

    assert logins() == {}
