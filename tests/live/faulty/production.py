"""Production as it is deployed, with a few more URLs, which fail in every way there is."""

from config.settings.production import *  # noqa: F403  as every settings module
from config.settings.production import MIDDLEWARE

ROOT_URLCONF = "tests.live.faulty.urls"
MIDDLEWARE = [*MIDDLEWARE, "tests.live.faulty.urls.FaultyMiddleware"]
# Nobody gathered the static files.
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
