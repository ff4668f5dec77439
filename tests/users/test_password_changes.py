"""Changes of the password end tokens and sessions however they are made; a rehash at login does not."""

import io
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from unittest.mock import patch

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import SESSION_KEY, authenticate
from django.contrib.auth.hashers import check_password, make_password
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from apps.users.errors import InvalidCredentials
from apps.users.hashers import BoundedArgon2PasswordHasher
from apps.users.models import Token, User
from apps.users.use_cases.change_password import ChangePassword
from tests.factories import PASSWORD, UserFactory, client_of
from tests.support.api import bearer, log_in
from tests.support.problems import assert_problem

pytestmark = pytest.mark.django_db

ME = "/api/v1/users/me/"
ADMIN = "/admin/users/user/"
NEW = "a quite different phrase"


def browser_of(user):
    browser = Client()
    browser.force_login(user)
    return browser


def root_posts(path, form):
    browser = browser_of(UserFactory(is_staff=True, is_superuser=True))
    assert browser.post(path, form).status_code == 302


def sql(statement, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def by_the_api(user):
    body = {"current_password": PASSWORD, "new_password": NEW}
    assert client_of(user).post("/api/v1/users/me/password/", body).status_code == 204


def by_the_admin(user):
    root_posts(f"{ADMIN}{user.pk}/password/", {"password1": NEW, "password2": NEW, "usable_password": "true"})


def disabled_by_the_admin(user):
    form = {"password1": "", "password2": "", "usable_password": "false", "unset-password": "1"}
    root_posts(f"{ADMIN}{user.pk}/password/", form)
    assert not User.objects.get(pk=user.pk).has_usable_password()


def by_its_owner_in_the_admin(user):
    form = {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW}
    assert browser_of(user).post("/admin/password_change/", form).status_code == 302


def by_a_command(user):
    with patch("getpass.getpass", return_value=NEW):
        call_command("changepassword", user.username, stdout=io.StringIO())


def by_set_password(user):
    user.set_password(NEW)
    user.save()


def by_an_unusable_one(user):
    user.set_unusable_password()
    user.save()


def by_an_assignment(user):
    user.password = make_password(NEW)
    user.save(update_fields=["password"])


def by_the_same_one_again(user):
    """A new hash of the same password is a change as well: the owner has requested one."""
    user.set_password(PASSWORD)
    user.save()


def by_a_query(user):
    User.objects.filter(pk=user.pk).update(password=make_password(NEW))


def by_bulk_update(user):
    user.password = make_password(NEW)
    User.objects.bulk_update([user], ["password"])


def by_an_upsert(user):
    user.password = make_password(NEW)
    User.objects.bulk_create([user], update_conflicts=True, unique_fields=["id"], update_fields=["password"])


def by_sql(user):
    sql("UPDATE users_user SET password = %s WHERE id = %s", make_password(NEW), user.pk)


def to_nothing_by_sql(user):
    sql("UPDATE users_user SET password = '' WHERE id = %s", user.pk)


def by_merge(user):
    sql(
        "MERGE INTO users_user USING (SELECT %s::uuid AS id) AS one ON users_user.id = one.id"
        " WHEN MATCHED THEN UPDATE SET password = 'x'",
        user.pk,
    )


PASSWORD_CHANGES = [
    by_the_api,
    by_the_admin,
    disabled_by_the_admin,
    by_its_owner_in_the_admin,
    by_a_command,
    by_set_password,
    by_an_unusable_one,
    by_an_assignment,
    by_the_same_one_again,
    by_a_query,
    by_bulk_update,
    by_an_upsert,
    by_sql,
    to_nothing_by_sql,
    by_merge,
]


@pytest.fixture
def user(staff) -> User:
    """A member of staff, who has sessions as well as tokens."""
    return staff


@pytest.mark.parametrize("change", PASSWORD_CHANGES, ids=lambda change: change.__name__)
def test_ends_tokens_and_sessions(user, client, change):
    other, browser, bystander = client_of(user), browser_of(user), client_of(UserFactory())
    assert browser.get("/admin/").status_code == 200

    change(user)

    for each in (client, other):
        assert_problem(each.get(ME), 401, "not_authenticated")
    assert not Token.objects.filter(user=user).exists()
    assert browser.get("/admin/").status_code == 302
    assert bystander.get(ME).status_code == 200


def test_any_other_change_of_the_user_is_none(user, client):
    user.email = "other@example.org"
    user.save()
    User.objects.filter(pk=user.pk).update(password=user.password, last_login=timezone.now())

    assert client.get(ME).status_code == 200


def test_a_token_of_a_moment_later_lives(user):
    """However the clocks of two servers differ."""
    by_set_password(user)
    Token.objects.all().delete()

    token = log_in(user.username, NEW).json()["token"]
    Token.objects.update(created_at=user.date_joined)

    assert bearer(token).get(ME).status_code == 200


def rehashed_at_the_apis_login(user):
    assert log_in(user.username).status_code == 200


def rehashed_at_the_admins_login(user):
    browser = Client()
    assert browser.post("/admin/login/", {"username": user.username, "password": PASSWORD}).status_code == 302
    assert SESSION_KEY in browser.session
    assert browser.get("/admin/").status_code == 200


def rehashed_at_a_change_that_is_refused(user):
    body = {"current_password": PASSWORD, "new_password": "short"}
    assert_problem(client_of(user).post("/api/v1/users/me/password/", body), 400, "invalid_request")


def rehashed_at_a_change_that_is_refused_in_the_admin(user):
    form = {"old_password": PASSWORD, "new_password1": "short", "new_password2": "short"}
    assert browser_of(user).post("/admin/password_change/", form).status_code == 200


def rehashed_in_a_shell(user):
    assert user.check_password(PASSWORD)


def rehashed_in_an_event_loop(user):
    assert async_to_sync(user.acheck_password)(PASSWORD)


REHASHES = [
    rehashed_at_the_apis_login,
    rehashed_at_the_admins_login,
    rehashed_at_a_change_that_is_refused,
    rehashed_at_a_change_that_is_refused_in_the_admin,
    rehashed_in_a_shell,
    rehashed_in_an_event_loop,
]


class TestARehash:
    @pytest.fixture(params=["another hasher", "a lower cost"])
    def _raised(self, request, settings, monkeypatch, user) -> None:
        """The password was stored by another hasher, or by ours at a lower cost."""
        settings.PASSWORD_HASHERS = ["apps.users.hashers.BoundedArgon2PasswordHasher", *settings.PASSWORD_HASHERS]
        if request.param == "a lower cost":
            by_the_same_one_again(user)
            monkeypatch.setattr(BoundedArgon2PasswordHasher, "time_cost", 3)

    @pytest.mark.parametrize("rehash", REHASHES, ids=lambda rehash: rehash.__name__)
    @pytest.mark.usefixtures("_raised")
    def test_is_no_change(self, user, rehash):
        client, before = client_of(user), user.password
        assert not before.startswith(argon2(BoundedArgon2PasswordHasher.time_cost))

        rehash(user)

        after = User.objects.get(pk=user.pk).password
        assert after.startswith(argon2(BoundedArgon2PasswordHasher.time_cost))
        assert check_password(PASSWORD, after)
        assert client.get(ME).status_code == 200

    @pytest.mark.usefixtures("_raised")
    def test_and_a_change_are_a_change(self, user):
        client = client_of(user)

        by_the_api(user)

        assert_problem(client.get(ME), 401, "not_authenticated")
        assert log_in(user.username, NEW).status_code == 200

    @pytest.mark.parametrize("change", [by_set_password, by_sql, to_nothing_by_sql, by_an_unusable_one])
    @pytest.mark.parametrize("together", [True, False], ids=["in one transaction", "in two"])
    @pytest.mark.usefixtures("_raised")
    def test_excuses_no_change_that_follows(self, user, change, together):
        client = client_of(user)
        if together:
            with transaction.atomic():
                assert user.check_password(PASSWORD)
                change(user)
        else:
            assert user.check_password(PASSWORD)
            change(user)

        assert_problem(client.get(ME), 401, "not_authenticated")

    @pytest.mark.usefixtures("_raised")
    def test_excuses_no_change_of_another(self, user):
        other = UserFactory()
        client = client_of(other)

        with transaction.atomic():
            assert user.check_password(PASSWORD)
            by_set_password(other)

        assert_problem(client.get(ME), 401, "not_authenticated")

    @pytest.mark.usefixtures("_raised")
    def test_brings_no_old_password_back(self, user):
        """It was changed after this user was read, and before the rehash is written."""
        by_a_query(User.objects.get(pk=user.pk))

        assert user.check_password(PASSWORD)

        assert User.objects.get(pk=user.pk).check_password(NEW)


def argon2(time_cost):
    return f"argon2$argon2id$v=19$m=19456,t={time_cost},p=1$"


class TestWhileThePasswordIsChecked:
    def log_in_while(self, user, happen):
        def check(**credentials):
            found = authenticate(**credentials)
            happen(User.objects.get(pk=user.pk))
            return found

        with patch("apps.users.use_cases.log_in.authenticate", check):
            return log_in(user.username)

    @pytest.mark.parametrize("change", [by_set_password, by_sql, by_an_unusable_one])
    def test_a_change_leaves_no_token_to_the_old_one(self, user, change):
        assert_problem(self.log_in_while(user, change), 400, "invalid_credentials")

        assert not Token.objects.exists()

    def test_another_logins_rehash_is_none(self, user, settings):
        settings.PASSWORD_HASHERS = ["apps.users.hashers.BoundedArgon2PasswordHasher", *settings.PASSWORD_HASHERS]

        def rehash(fresh):
            sql("UPDATE users_user SET password = %s WHERE id = %s", make_password(PASSWORD), fresh.pk)

        assert self.log_in_while(user, rehash).status_code == 200

    def test_a_change_makes_another_change_ask_for_the_new_one(self, user):
        """Both have had the right password; the second's was right no more when it came to be changed."""
        stale = User.objects.get(pk=user.pk)
        by_set_password(user)
        change = ChangePassword(user=stale, current_password=PASSWORD, new_password=NEW + "!", address="")

        with pytest.raises(InvalidCredentials):
            change.execute()

        assert User.objects.get(pk=user.pk).check_password(NEW)


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    """A login and a change, each waiting for the row lock of the other."""

    @contextmanager
    def waiting(self, wait, *args):
        """Run the block in a transaction; start `wait` once the block has run and end the transaction once it waits."""
        with ThreadPoolExecutor(1) as pool, transaction.atomic():
            yield
            pool.submit(self.alone, wait, *args)
            while not self.any_session_waits():
                time.sleep(0.01)

    def alone(self, wait, *args):
        try:
            wait(*args)
        finally:
            connection.close()

    def any_session_waits(self):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
            return cursor.fetchone()[0] > 0

    def test_a_change_behind_a_login_ends_its_token(self):
        user = UserFactory()

        with self.waiting(by_a_query, user):
            user.lock_with_password(PASSWORD)
            client_of(user)

        assert User.objects.get(pk=user.pk).check_password(NEW)
        assert not Token.objects.exists()

    def test_a_login_behind_a_change_gets_no_token(self):
        user = UserFactory()

        # The login reads and checks the old password, since the change is not committed yet.
        with self.waiting(log_in, user.username):
            by_a_query(user)

        assert not Token.objects.exists()
        assert log_in(user.username, NEW).status_code == 200
