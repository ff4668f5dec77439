"""A laptop: debug pages, open sign-up, and the database that `make up` started."""

from config import embedded_postgres
from config.settings.base import *  # noqa: F403  a settings module is its parent's names with some changed
from config.settings.base import database, env

DEBUG = env.bool("DEBUG", default=True)
# Known to everybody who can read this file; production refuses to start without its own.
SECRET_KEY = env.str("SECRET_KEY", default="local-only-and-published-secret-key")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
DATABASES = {"default": database(env.str("DATABASE_URL", default="") or embedded_postgres.url("local"))}

POPULATE_ALLOWED = True
SIGN_UP_OPEN = env.bool("SIGN_UP_OPEN", default=True)

# Static files come straight from the packages: no collectstatic on a laptop.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
