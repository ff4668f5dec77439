"""Settings of production with notes, and more URLs, which fail in every way there is."""

from config.settings.production import *  # noqa: F403  as every settings module
from config.settings.production import INSTALLED_APPS, MIDDLEWARE

INSTALLED_APPS = [*INSTALLED_APPS, "tests.notes"]
ROOT_URLCONF = "tests.live.faulty.urls"
MIDDLEWARE = [*MIDDLEWARE, "tests.live.faulty.urls.FaultyMiddleware"]
# The static files are not collected.
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
