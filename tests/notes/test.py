"""Settings of a server on the test database that has notes beside the product's URLs."""

from tests.settings.test import *  # noqa: F403  a settings module is its parent's names with some changed

ROOT_URLCONF = "tests.notes.urls"
