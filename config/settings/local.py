"""A laptop: debug pages, open sign-up, plain HTTP, and the database that `make up` started."""

from config import embedded_postgres
from config.settings.base import *  # noqa: F403  a settings module is its parent's names with some changed
from config.settings.base import database, env

DATABASES = {"default": database(env.DATABASE_URL or embedded_postgres.url("local"))}

POPULATE_ALLOWED = True

# Browsers refuse __Host- cookies without TLS.
SECURE_PROXY_SSL_HEADER = None
SECURE_SSL_REDIRECT = False
SECURE_HSTS_SECONDS = 0
SESSION_COOKIE_NAME = "sessionid"
SESSION_COOKIE_SECURE = False
CSRF_COOKIE_NAME = "csrftoken"
CSRF_COOKIE_SECURE = False

# Static files come straight from the packages: no collectstatic on a laptop.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
