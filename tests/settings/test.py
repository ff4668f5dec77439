"""Settings of pytest itself: those of the test environment, and an app of the tests' own."""

from config.settings.test import *  # noqa: F403  a settings module is its parent's names with some changed
from config.settings.test import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.notes"]
# The replica of the tests is a second connection to the same server, so it is no replica, and the primary answers in its
# place (apps.database.replica). tests/database/test_streaming_replica.py has a real one.
_options = DATABASES["default"]["OPTIONS"]
DATABASES["replica"] = DATABASES["default"] | {
    "IS_REPLICA": True,
    "OPTIONS": _options | {"options": f"{_options['options']} -c default_transaction_read_only=on"},
    "TEST": {"MIRROR": "default"},
}
