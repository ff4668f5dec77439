"""Hashing beside requests: one hash at a time, and a refusal where too many wait."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.hashers import check_password, make_password
from django.test import Client
from rest_framework.test import APIClient

from apps.users import hashers
from apps.users.errors import TooManyHashes
from apps.users.models import LoginFailures
from tests.factories import PASSWORD, UserFactory
from tests.support.api import ADMIN_LOGIN, log_in, log_in_to_admin
from tests.support.patience import HANG_S
from tests.support.problems import assert_problem

HASHERS = ["BoundedArgon2PasswordHasher", "PBKDF2PasswordHasher"]


@pytest.fixture(autouse=True)
def two_places(settings):
    settings.PASSWORDS_HASHED_AT_ONCE = 2
    settings.PASSWORD_HASHERS = ["apps.users.hashers.BoundedArgon2PasswordHasher"]
    hashers._hashing.cache_clear()
    yield
    hashers._hashing.cache_clear()


@pytest.fixture
def clerk(two_places, db):
    return UserFactory(is_staff=True, is_superuser=True)


@pytest.fixture
def all_places_taken(clerk):
    """Two hashes in progress that end with the test."""
    end, begun = threading.Event(), threading.Event()

    def hash_until_the_end():
        begun.set()
        end.wait(HANG_S)

    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(hashers._hashing().run, hash_until_the_end) for _ in range(2)]
        assert begun.wait(HANG_S)
        # The second is waiting once its place is taken.
        while hashers._hashing()._places._value:
            time.sleep(0.001)
        yield
        end.set()
        for each in waiting:
            each.result(HANG_S)


@pytest.mark.parametrize("hasher", HASHERS)
def test_a_hash_is_the_hasher_s_own(settings, hasher, monkeypatch):
    settings.PASSWORD_HASHERS = [f"apps.users.hashers.{hasher}"]
    encoded = make_password(PASSWORD)
    # harden_runtime and verify of PBKDF2 call encode, in the same turn.
    monkeypatch.setattr("apps.users.hashers.PBKDF2PasswordHasher.iterations", 1_000_001)

    assert check_password(PASSWORD, encoded)
    assert not check_password("wrong", encoded)


def test_one_is_computed_at_a_time():
    inside = threading.Semaphore(1)

    def enter(_):
        def alone():
            assert inside.acquire(blocking=False)
            # The other thread has had the time to be here, too.
            waiting.wait(HANG_S)
            inside.release()

        hashers._hashing().run(alone)

    waiting = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        both = pool.map(enter, range(2))
        while hashers._hashing()._places._value:
            time.sleep(0.001)
        waiting.set()
        assert len(list(both)) == 2


@pytest.mark.usefixtures("all_places_taken")
class TestWhereTooManyWait:
    @pytest.mark.parametrize("hasher", HASHERS)
    def test_no_hasher_waits(self, settings, hasher):
        settings.PASSWORD_HASHERS = [f"apps.users.hashers.{hasher}"]

        with pytest.raises(TooManyHashes):
            make_password(PASSWORD)

    def test_a_login_is_refused_and_counts_as_no_failure(self, clerk):
        for _ in range(12):
            response = log_in(clerk.username)
            assert_problem(response, 503, "unavailable")
            assert response.headers["Retry-After"] == "1"
        # Not even in flight: all attempts from one address wait for one row.
        assert not LoginFailures.objects.exists()

    def test_a_sign_up_is_refused(self, settings):
        settings.SIGN_UP_OPEN = True
        body = {"username": "new", "password": "correct horse battery staple"}

        response = APIClient().post("/api/v1/users/", body)

        assert_problem(response, 503, "unavailable")

    def test_the_login_of_the_admin_says_so(self, clerk):
        response, _ = log_in_to_admin(clerk.username)

        assert response.status_code == 503
        assert response.headers["Retry-After"] == "1"
        assert "Too many passwords are being checked" in response.content.decode()

    def test_so_does_a_page_of_the_admin_that_sets_a_password(self, clerk):
        browser = Client(raise_request_exception=False)
        browser.force_login(clerk)

        response = browser.post(
            f"{ADMIN_LOGIN.removesuffix('login/')}users/user/{clerk.pk}/password/",
            {"usable_password": "true", "password1": "correct horse", "password2": "correct horse"},
        )

        assert_problem(response, 503, "unavailable")


def test_a_child_has_no_place_that_is_taken_in_its_parent():
    with hashers.hashing_place():
        child = os.fork()
        if child == 0:
            with ThreadPoolExecutor(2) as pool:
                both = list(pool.map(make_password, [PASSWORD] * 2))
            os._exit(0 if all(both) else 1)

        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
