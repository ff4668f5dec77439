"""What is said at the channel: once each, with the user where it is known, and nothing that was typed."""

import logging

import pytest
from django.test import Client
from rest_framework.test import APIClient

from tests.factories import PASSWORD, AccountFactory, UserFactory, client_of, deposit
from tests.support.api import log_in, log_in_to_admin

pytestmark = pytest.mark.django_db

EVENTS = ("apps.users.audit_log", "apps.core.problem")
WRONG = "a wrong one nobody has"


@pytest.fixture
def told(caplog, user, staff):
    """Return what was said since the last time: level, event, user and the rest."""
    caplog.set_level(logging.INFO)

    def since() -> list[tuple[str, str, str | None]]:
        records = [record for record in caplog.records if record.name in EVENTS]
        for record in records:
            said = f"{vars(record)}"
            assert not [typed for typed in (user.username, staff.username, PASSWORD, WRONG, "bank_") if typed in said]
        caplog.clear()
        return [
            (record.levelname, record.getMessage(), str(record.user_id) if record.user_id else None)
            for record in records
        ]

    return since


@pytest.mark.parametrize("channel", ["api", "admin"])
def test_a_login_is_told_by_how_it_ended(told, user, staff, settings, channel):
    settings.LOGIN_FAILURES_PER_USERNAME_AND_ADDRESS = 2
    who, enter = (user, log_in) if channel == "api" else (staff, log_in_to_admin)

    enter(who.username)
    assert told() == [("INFO", "login succeeded", str(who.pk))]
    for name in (who.username, who.username, "nobody at all"):
        enter(name, WRONG)
        assert told() == [("WARNING", "login failed", None)]
    enter(who.username)
    assert told() == [("WARNING", "login limited", None)]


def test_a_customer_at_the_admins_door_is_told_by_id(told, user):
    log_in_to_admin(user.username)

    assert told() == [("WARNING", "login failed", str(user.pk))]


def test_a_change_of_password_is_told_by_how_it_ended(told, user, client, settings):
    settings.LOGIN_FAILURES_PER_USERNAME_AND_ADDRESS = 1
    other = client_of(UserFactory())

    def change(client, current, new=PASSWORD + "!"):
        client.post("/api/v1/users/me/password/", {"current_password": current, "new_password": new})
        return [event for _, event, _ in told()]

    assert change(other, PASSWORD, "short") == []
    assert change(other, PASSWORD) == ["password change succeeded"]
    assert change(client, WRONG) == ["password change failed"]
    client.post("/api/v1/users/me/password/", {"current_password": PASSWORD, "new_password": WRONG})
    assert told() == [("WARNING", "password change limited", str(user.pk))]


def test_a_revoked_token_is_told(told, user, client):
    client.delete("/api/token/")
    client.delete("/api/token/")

    assert told() == [("INFO", "token revoked", str(user.pk))]


def test_a_refused_permission_is_told_and_another_users_object_is_none(told, user, client, settings):
    account = AccountFactory(owner=user)
    path = f"/api/v1/transactions/{deposit(account, '1.00').transaction.pk}/reversal/"

    assert client.post(path, {}, headers={"Idempotency-Key": "r"}).status_code == 403
    assert told() == [("WARNING", "permission denied", str(user.pk))]
    assert client_of(UserFactory()).post(path, {}, headers={"Idempotency-Key": "r"}).status_code == 404
    assert told() == []
    settings.SIGN_UP_OPEN = False
    assert APIClient().post("/api/v1/users/", {"username": "eve", "password": PASSWORD}).status_code == 403
    assert told() == [("WARNING", "permission denied", None)]


def test_a_refused_permission_in_the_admin_is_told(told, staff):
    browser = Client()
    browser.force_login(staff)

    assert browser.get("/admin/users/user/").status_code == 403
    assert told() == [("WARNING", "permission denied", str(staff.pk))]
