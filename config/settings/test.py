"""The test suite: real PostgreSQL, cheap password hashing, nothing from the local environment but its database URL."""

from config import embedded_postgres
from config.settings.base import *  # noqa: F403  a settings module is its parent's names with some changed
from config.settings.base import database, env

SECRET_KEY = "test-only-secret-key"  # noqa: S105  signs nothing outside the test run
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", "testserver"]
DATABASES = {"default": database(env.str("TEST_DATABASE_URL", default="") or embedded_postgres.url("test"))}
# Where there is none, the gate's tests start one (tests/redis_server.py).
TEST_REDIS_URL = env.str("TEST_REDIS_URL", default="")

POPULATE_ALLOWED = True
SIGN_UP_OPEN = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = True
