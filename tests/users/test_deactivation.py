"""Deactivation of a user deletes the tokens, however it is made: a trigger does it."""

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from apps.users.models import User
from tests.factories import UserFactory
from tests.support.api import bearer, log_in
from tests.support.problems import assert_problem

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("road", ["admin", "shell", "query", "SQL"])
def test_ends_every_token_for_good(user, client, road):
    if road == "admin":
        browser = Client()
        browser.force_login(UserFactory(is_staff=True, is_superuser=True))
        untouched = {"username": user.username, "email": user.email, "date_joined_0": "2026-01-01"}
        form = untouched | {"date_joined_1": "00:00:00"}
        assert browser.post(f"/admin/users/user/{user.pk}/change/", form).status_code == 302
    elif road == "shell":
        user.is_active = False
        user.save()
    elif road == "query":
        User.objects.filter(pk=user.pk).update(is_active=False)
    else:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE users_user SET is_active = false WHERE id = %s", [user.pk])
    assert not User.objects.get(pk=user.pk).is_active
    assert_problem(client.get("/api/v1/users/me/"), 401, "not_authenticated")

    User.objects.filter(pk=user.pk).update(is_active=True)

    assert_problem(client.get("/api/v1/users/me/"), 401, "not_authenticated")
    assert bearer(log_in(user.username).json()["token"]).get("/api/v1/users/me/").status_code == 200


def test_of_another_ends_none(user, client):
    User.objects.filter(pk=UserFactory().pk).update(is_active=False)
    # Other changes of the user do not end tokens.
    user.save()

    assert client.get("/api/v1/users/me/").status_code == 200


def test_by_the_command_names_the_user_and_can_be_repeated(user, client, capsys):
    for _ in range(2):
        call_command("deactivate_user", user.username)

        assert capsys.readouterr().out == f"{user.username} is deactivated.\n"
        assert_problem(client.get("/api/v1/users/me/"), 401, "not_authenticated")


def test_by_the_command_of_nobody_is_an_error(user):
    with pytest.raises(CommandError, match="there is no user nobody"):
        call_command("deactivate_user", "nobody")

    assert User.objects.get().is_active
