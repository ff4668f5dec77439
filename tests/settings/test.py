"""Settings of pytest itself: those of the test environment, and an app of the tests' own."""

from config.settings.test import *  # noqa: F403  a settings module is its parent's names with some changed
from config.settings.test import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.notes"]
