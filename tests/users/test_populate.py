"""Example users: they can log in, a seed is written once, and nothing is written where it is not allowed."""

import pytest
from django.core.management import CommandError, call_command

from apps.users.models import User
from tests.support.api import log_in

pytestmark = pytest.mark.django_db


def test_a_seed_makes_users_who_can_log_in_and_makes_them_once(capsys):
    call_command("populate", seed=7, users=2, rows=0)
    password = capsys.readouterr().out.rpartition(": ")[2].strip()

    assert log_in("demo-7-1", password).status_code == 200
    call_command("populate", seed=7, users=2, rows=0)
    assert "already" in capsys.readouterr().out
    assert User.objects.count() == 2


def test_refuses_nonsense_and_production(settings):
    for options in ({"users": 0}, {"rows": -1}):
        with pytest.raises(CommandError, match="must be at least"):
            call_command("populate", **options)
    settings.POPULATE_ALLOWED = False
    with pytest.raises(CommandError, match="not allowed here"):
        call_command("populate")
