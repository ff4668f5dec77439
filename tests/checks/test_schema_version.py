"""The version of the schema: the same for the same migrations and grants, another for any other."""

import re

from django.apps import apps

from checks.schema_version import version
from tests.support.processes import run


def test_the_command_prints_it():
    printed = run("-m", "checks.schema_version", DJANGO_SETTINGS_MODULE="config.settings.base")

    assert (printed.returncode, printed.stderr) == (0, "")
    assert re.fullmatch(r"[0-9a-f]{12}\n", printed.stdout)


def test_is_the_same_again():
    assert version() == version()


def test_a_migration_less_is_another(settings):
    before = version()
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "tests.notes"]

    assert version() != before


def test_a_privilege_less_is_another(monkeypatch):
    before = version()
    monkeypatch.setattr(apps.get_app_config("users"), "table_privileges", {"users_user": "SELECT"}, raising=False)

    assert version() != before
