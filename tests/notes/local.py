"""Settings of a laptop's server that has notes beside the product's URLs."""

from config.settings.local import *  # noqa: F403  a settings module is its parent's names with some changed
from config.settings.local import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.notes"]
ROOT_URLCONF = "tests.notes.urls"
