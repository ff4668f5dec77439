"""Admin login under the failure limits of the API: refused before a hash is computed."""

import pytest
from django.contrib.auth import SESSION_KEY
from django.test import Client

from apps.users.models import LoginFailures
from tests.factories import PASSWORD, UserFactory
from tests.live.guessed.counting_hasher import FILE
from tests.support.api import ADMIN_LOGIN, log_in, log_in_to_admin
from tests.support.metric_deltas import counting

pytestmark = pytest.mark.django_db

LIMITED = "Too many failed attempts; try again later."


@pytest.fixture
def root():
    return UserFactory(is_staff=True, is_superuser=True)


@pytest.fixture
def hashed_passwords(settings, tmp_path, monkeypatch, root):
    """Return a function that returns the number of passwords that reached the hasher."""
    file = tmp_path / "checked"
    monkeypatch.setenv(FILE, str(file))
    settings.PASSWORD_HASHERS = ["tests.live.guessed.counting_hasher.CountingHasher"]
    root.set_password(PASSWORD)
    root.save()
    file.write_text("")
    return lambda: len(file.read_text().splitlines())


def test_the_eleventh_failure_is_not_even_hashed(root, hashed_passwords):
    for number in range(10):
        response, _ = log_in_to_admin(root.username, "wrong")
        assert (response.status_code, LIMITED in response.content.decode()) == (200, False)
        assert hashed_passwords() == number + 1

    response, browser = log_in_to_admin(root.username)

    assert (response.status_code, LIMITED in response.content.decode()) == (429, True)
    assert 890 <= int(response.headers["Retry-After"]) <= 900
    assert SESSION_KEY not in browser.session
    assert hashed_passwords() == 10
    response, browser = log_in_to_admin(root.username, REMOTE_ADDR="203.0.113.9")
    assert (response.status_code, SESSION_KEY in browser.session) == (302, True)
    assert hashed_passwords() == 11


def test_an_unknown_name_is_counted_as_well(hashed_passwords):
    for _ in range(10):
        log_in_to_admin("nobody", "wrong")

    assert log_in_to_admin("nobody", "wrong")[0].status_code == 429
    assert hashed_passwords() == 10


def test_it_counts_together_with_the_api(root):
    for _ in range(5):
        log_in_to_admin(root.username, "wrong")
        log_in(root.username, "wrong")

    assert log_in_to_admin(root.username)[0].status_code == 429
    assert log_in(root.username).status_code == 429


def test_logins_are_counted_by_outcome(root, settings):
    settings.LOGIN_FAILURES_PER_USERNAME_AND_ADDRESS = 1
    logins = counting("app_logins")

    for password in (PASSWORD, "wrong", PASSWORD):
        log_in_to_admin(root.username, password)

    assert logins() == {"succeeded": 1, "failed": 1, "throttled": 1}


def test_right_logins_are_no_failures_and_others_than_staff_get_the_answer_of_a_guess(root, user):
    for _ in range(11):
        assert log_in_to_admin(root.username)[0].status_code == 302

    response, browser = log_in_to_admin(user.username)
    guess, _ = log_in_to_admin(root.username, "wrong")

    error = "for a staff account"
    assert error in response.content.decode()
    assert error in guess.content.decode()
    assert SESSION_KEY not in browser.session
    # The password was right: only the guess is a failure, under its three scopes.
    assert sum(LoginFailures.objects.values_list("count", flat=True)) == 3


def test_a_form_that_is_not_whole_is_no_attempt(root):
    for form in ({}, {"username": root.username}, {"password": PASSWORD}):
        assert Client().post(ADMIN_LOGIN, form).status_code == 200

    assert Client().get(ADMIN_LOGIN).status_code == 200
    assert not LoginFailures.objects.exists()
