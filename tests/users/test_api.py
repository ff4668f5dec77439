"""Tokens, sign-up and passwords over HTTP."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from unittest.mock import patch

import pytest
from django.contrib.auth import authenticate
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from apps.users.models import LoginFailures, Token, User
from tests.factories import PASSWORD, UserFactory, client_of
from tests.support.api import bearer, log_in
from tests.support.problems import assert_problem

pytestmark = pytest.mark.django_db


class TestToken:
    @pytest.mark.parametrize("form", ["json", "multipart", "urlencoded"])
    def test_is_given_for_a_password_in_json_or_a_form(self, user, form):
        if form == "urlencoded":
            body = f"username={user.username}&password={PASSWORD.replace(' ', '+')}"
            response = APIClient().post("/api/token/", body, content_type="application/x-www-form-urlencoded")
        else:
            response = APIClient().post("/api/token/", {"username": user.username, "password": PASSWORD}, format=form)

        assert response.status_code == 200
        assert response.json().keys() == {"token", "expires_at"}
        me = bearer(response.json()["token"]).get("/api/v1/users/me/").json()
        assert me == {"id": str(user.pk), "username": user.username, "email": user.email}

    def test_is_kept_as_a_digest_only(self, user):
        token = log_in(user.username).json()["token"]

        with connection.cursor() as cursor:
            cursor.execute("SELECT encode(digest, 'escape') FROM users_token")
            assert token not in cursor.fetchone()[0]

    def test_wrong_password_unknown_name_and_inactive_user_get_the_same_answer(self, user):
        inactive = UserFactory(is_active=False)

        answers = [log_in(user.username, "wrong"), log_in("nobody"), log_in(inactive.username)]

        for answer in answers:
            assert_problem(answer, 400, "invalid_credentials")
        assert len({answer.json()["detail"] for answer in answers}) == 1

    def test_dies_when_revoked(self, client):
        assert client.delete("/api/token/").status_code == 204

        assert_problem(client.get("/api/v1/users/me/"), 401, "not_authenticated")

    def test_one_text_for_every_dead_token(self, user):
        expired, deactivated = client_of(user), client_of(UserFactory())
        Token.objects.filter(user=user).update(expires_at=timezone.now())
        User.objects.exclude(pk=user.pk).update(is_active=False)
        forged, garbled, absent = bearer("tok_x"), APIClient(), APIClient()
        garbled.credentials(HTTP_AUTHORIZATION="Token \xff")

        answers = [each.get("/api/v1/users/me/") for each in (expired, deactivated, forged, garbled, absent)]

        for answer in answers:
            assert_problem(answer, 401, "not_authenticated")
            assert answer.headers["WWW-Authenticate"] == "Token"
        assert len({answer.json()["detail"] for answer in answers}) == 1

    @pytest.mark.parametrize("change", ["deactivated", "deleted"])
    def test_is_not_given_to_a_user_who_is_gone_when_the_password_is_checked(self, user, change):
        def check(**credentials):
            found = authenticate(**credentials)
            row = User.objects.filter(pk=user.pk)
            if change == "deleted":
                row.delete()
            else:
                row.update(is_active=False)
            return found

        with patch("apps.users.use_cases.log_in.authenticate", check):
            assert_problem(log_in(user.username), 400, "invalid_credentials")

        assert not Token.objects.exists()

    def test_the_oldest_dies_beyond_ten(self, user):
        tokens = [log_in(user.username).json()["token"] for _ in range(11)]

        assert bearer(tokens[0]).get("/api/v1/users/me/").status_code == 401
        assert all(bearer(token).get("/api/v1/users/me/").status_code == 200 for token in tokens[1:])


class TestLoginLimits:
    def test_the_eleventh_failure_for_a_name_from_an_address_is_not_even_checked(self, user):
        for _ in range(10):
            assert_problem(log_in(user.username, "wrong"), 400, "invalid_credentials")

        with patch("apps.users.use_cases.log_in.authenticate") as hasher:
            response = log_in(user.username)

        assert_problem(response, 429, "throttled")
        assert 890 <= int(response.headers["Retry-After"]) <= 900
        hasher.assert_not_called()
        assert log_in(user.username, REMOTE_ADDR="203.0.113.9").status_code == 200

    def test_forwarded_addresses_are_not_believed_without_a_proxy(self, user):
        for number in range(10):
            log_in(user.username, "wrong", headers={"X-Forwarded-For": f"203.0.113.{number}"})

        assert_problem(log_in(user.username), 429, "throttled")

    def test_successes_are_not_counted(self, user):
        assert {log_in(user.username).status_code for _ in range(12)} == {200}
        assert not LoginFailures.objects.filter(count__gt=0).exists()

    def test_a_new_window_starts_from_nothing(self, user):
        for _ in range(10):
            log_in(user.username, "wrong")
        LoginFailures.objects.update(window_ends_at=timezone.now() - timedelta(seconds=1))

        assert log_in(user.username).status_code == 200

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.usefixtures("_all_the_time")
    def test_parallel_guesses_do_not_slip_past_together(self):
        user = UserFactory()

        def guess(_):
            try:
                return log_in(user.username, "wrong").status_code
            finally:
                connection.close()

        with ThreadPoolExecutor(20) as pool:
            statuses = list(pool.map(guess, range(40)))

        assert statuses.count(400) <= 10
        assert set(statuses) == {400, 429}

    def test_an_ipv6_network_is_one_address(self, user):
        for number in range(10):
            log_in(user.username, "wrong", REMOTE_ADDR=f"2001:db8:0:1:{number}::1")

        assert_problem(log_in(user.username, REMOTE_ADDR="2001:db8:0:1:ffff::"), 429, "throttled")
        assert log_in(user.username, REMOTE_ADDR="2001:db8:0:2::1").status_code == 200

    def test_an_ipv4_address_is_one_in_ipv6_too(self, user):
        for _ in range(10):
            log_in(user.username, "wrong", REMOTE_ADDR="203.0.113.9")

        assert_problem(log_in(user.username, REMOTE_ADDR="::ffff:203.0.113.9"), 429, "throttled")
        assert log_in(user.username, REMOTE_ADDR="::1").status_code == 200


class TestSignUp:
    BODY = {"username": "ada", "password": PASSWORD, "email": "ada@example.org"}

    def test_makes_a_user_who_can_log_in(self):
        response = APIClient().post("/api/v1/users/", self.BODY)

        user = User.objects.get()
        assert response.status_code == 201
        assert response.json() == {"id": str(user.pk), "username": "ada", "email": "ada@example.org"}
        assert log_in("ada").status_code == 200

    def test_closed_is_403(self, settings):
        settings.SIGN_UP_OPEN = False

        assert_problem(APIClient().post("/api/v1/users/", self.BODY), 403, "permission_denied")

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"username": "a b"}, "username"),
            ({"username": ""}, "username"),
            ({"password": "short"}, "password"),
            ({"password": "password1234"}, "password"),
            ({"email": "nowhere"}, "email"),
            ({"username": "a\x00"}, "username"),
            ({"username": 1}, "username"),
        ],
    )
    def test_refuses_bad_fields(self, change, field):
        problem = assert_problem(APIClient().post("/api/v1/users/", self.BODY | change), 400, "invalid_request")

        assert [error["field"] for error in problem["errors"]] == [field]
        assert not User.objects.exists()

    def test_refuses_a_taken_name(self):
        APIClient().post("/api/v1/users/", self.BODY)

        problem = assert_problem(APIClient().post("/api/v1/users/", self.BODY), 400, "invalid_request")

        assert problem["errors"] == [{"field": "username", "code": "unique", "detail": "This user name is taken."}]

    def test_cannot_make_staff(self):
        assert_problem(APIClient().post("/api/v1/users/", self.BODY | {"is_staff": True}), 400, "unknown_field")


class TestPassword:
    def change(self, client, current=PASSWORD, new="a quite different phrase"):
        return client.post("/api/v1/users/me/password/", {"current_password": current, "new_password": new})

    def test_change_ends_every_session(self, user, client):
        other = client_of(user)

        assert self.change(client).status_code == 204

        for each in (client, other):
            assert_problem(each.get("/api/v1/users/me/"), 401, "not_authenticated")
        assert_problem(log_in(user.username), 400, "invalid_credentials")
        assert log_in(user.username, "a quite different phrase").status_code == 200

    def test_needs_the_old_one_and_a_strong_new_one(self, client):
        assert_problem(self.change(client, current="wrong"), 400, "invalid_credentials")
        assert_problem(self.change(client, new="short"), 400, "invalid_request")

    def test_guessing_with_a_stolen_token_is_limited(self, client):
        for _ in range(10):
            self.change(client, current="wrong")

        assert_problem(self.change(client), 429, "throttled")

    def test_set_by_an_operator_ends_sessions_too(self, user, client):
        user.set_password("set in the admin or the shell")
        user.save()

        assert_problem(client.get("/api/v1/users/me/"), 401, "not_authenticated")
