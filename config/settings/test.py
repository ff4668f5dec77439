"""Settings of the test suite: real PostgreSQL, cheap password hashing, plain HTTP, independent of the local environment."""

from config.settings.base import *  # noqa: F403  a settings module is its parent's names with some changed
from config.settings.base import MIDDLEWARE, REST_FRAMEWORK, database, env
from devtools import embedded_postgres

DEBUG = False
SECRET_KEY = "test-only-secret-key"  # noqa: S105  signs nothing outside the test run
SECRET_KEY_FALLBACKS = []
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", "testserver"]
DATABASES = {"default": database(env("TEST_DATABASE_URL") or embedded_postgres.url("test"), key="TEST_DATABASE_URL")}
MIGRATION_DATABASE = None
MIDDLEWARE = [name for name in MIDDLEWARE if not name.startswith("corsheaders.")]
CORS_ALLOWED_ORIGINS = []
CORS_ALLOW_ALL_ORIGINS = False
REST_FRAMEWORK = REST_FRAMEWORK | {"NUM_PROXIES": 0}
# Without one, the tests that need Redis start it (tests/support/redis_server.py).
TEST_REDIS_URL = env("TEST_REDIS_URL")
THROTTLE_USER_PER_MINUTE = THROTTLE_ANONYMOUS_PER_MINUTE = 0

POPULATE_ALLOWED = True
SIGN_UP_OPEN = True
ADMIN_PATH = "admin/"
DOCS_OPEN = True
PASSWORD_HASHERS = ["apps.users.hashers.CheapPasswordHasher"]

SECURE_PROXY_SSL_HEADER = None
SECURE_SSL_REDIRECT = False
SECURE_HSTS_SECONDS = 0
SESSION_COOKIE_SECURE = False
CSRF_COOKIE_SECURE = False

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = True
