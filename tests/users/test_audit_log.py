"""Audit log: one line for each event, with the user's id where the user is known, and no input."""

import pytest
from django.test import Client
from rest_framework.test import APIClient

from tests.factories import PASSWORD, UserFactory, client_of
from tests.support.api import log_in, log_in_to_admin

pytestmark = pytest.mark.django_db

WRONG = "a wrong one nobody has"


@pytest.mark.parametrize("channel", ["api", "admin"])
def test_a_login_is_logged_by_its_outcome(new_lines, user, staff, settings, channel):
    settings.LOGIN_FAILURES_PER_USERNAME_AND_ADDRESS = 2
    account, log_in_there = (user, log_in) if channel == "api" else (staff, log_in_to_admin)

    log_in_there(account.username)
    assert new_lines() == [("INFO", "login succeeded", str(account.pk))]
    for name in (account.username, account.username, "nobody at all"):
        log_in_there(name, WRONG)
        assert new_lines() == [("WARNING", "login failed", None)]
    log_in_there(account.username)
    assert new_lines() == [("WARNING", "login limited", None)]


def test_a_customer_at_the_admins_login_is_logged_by_id(new_lines, user):
    log_in_to_admin(user.username)

    assert new_lines() == [("WARNING", "login failed", str(user.pk))]


def test_a_change_of_password_is_logged_by_its_outcome(new_lines, user, client, settings):
    settings.LOGIN_FAILURES_PER_USERNAME_AND_ADDRESS = 1
    other = client_of(UserFactory())

    def change(client, current, new=PASSWORD + "!"):
        client.post("/api/v1/users/me/password/", {"current_password": current, "new_password": new})
        return [event for _, event, _ in new_lines()]

    assert change(other, PASSWORD, "short") == []
    assert change(other, PASSWORD) == ["password change succeeded"]
    assert change(client, WRONG) == ["password change failed"]
    client.post("/api/v1/users/me/password/", {"current_password": PASSWORD, "new_password": WRONG})
    assert new_lines() == [("WARNING", "password change limited", str(user.pk))]


def test_a_revoked_token_is_logged(new_lines, user, client):
    client.delete("/api/token/")
    client.delete("/api/token/")

    assert new_lines() == [("INFO", "token revoked", str(user.pk))]


def test_a_refused_permission_is_logged(new_lines, settings):
    settings.SIGN_UP_OPEN = False
    assert APIClient().post("/api/v1/users/", {"username": "eve", "password": PASSWORD}).status_code == 403
    assert new_lines() == [("WARNING", "permission denied", None)]


def test_a_refused_permission_in_the_admin_is_logged(new_lines, staff):
    browser = Client()
    browser.force_login(staff)

    assert browser.get("/admin/users/user/").status_code == 403
    assert new_lines() == [("WARNING", "permission denied", str(staff.pk))]
