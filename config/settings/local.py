"""Local settings: debug pages, open sign-up, plain HTTP, and the database that `make up` started."""

from typing import Any

from config.settings.base import *  # noqa: F403  a settings module is its parent's names with some changed
from config.settings.base import (
    CONTENT_SECURITY_POLICY,
    INSTALLED_APPS,
    MIDDLEWARE,
    REDIS_URL,
    REPLICA,
    SPECTACULAR_SETTINGS,
    database,
    env,
)
from devtools import embedded_postgres

DEBUG = env("DEBUG", default=True)
# Published: deployments refuse Django's prefix.
SECRET_KEY = env("SECRET_KEY", default="django-insecure-published-in-this-repository-and-for-local-use-only")
ALLOWED_HOSTS = env("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
ADMIN_PATH = env("ADMIN_PATH", default="admin/")
DOCS_OPEN = env("DOCS_OPEN", default=True)
SIGN_UP_OPEN = env("SIGN_UP_OPEN", default=True)
THROTTLE_USER_PER_MINUTE = env("THROTTLE_USER_PER_MINUTE", default=0) if REDIS_URL else 0
THROTTLE_ANONYMOUS_PER_MINUTE = env("THROTTLE_ANONYMOUS_PER_MINUTE", default=0) if REDIS_URL else 0
# The browser's storage keeps the token that is typed into Swagger UI.
SPECTACULAR_SETTINGS["SWAGGER_UI_SETTINGS"]["persistAuthorization"] = DEBUG
DATABASES = {"default": database(env("DATABASE_URL") or embedded_postgres.url("local")), **REPLICA}

POPULATE_ALLOWED = True

# Browsers refuse __Host- cookies without TLS.
SECURE_PROXY_SSL_HEADER = None
SECURE_SSL_REDIRECT = False
SECURE_HSTS_SECONDS = 0
SESSION_COOKIE_NAME = "sessionid"
SESSION_COOKIE_SECURE = False
CSRF_COOKIE_NAME = "csrftoken"
CSRF_COOKIE_SECURE = False

# Static files are served from the packages, without collectstatic.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

if env("SILK"):
    INSTALLED_APPS = [*INSTALLED_APPS, "silk"]
    # After the validation, so that an invalid request is not recorded.
    _guard = MIDDLEWARE.index("apps.core.middleware.request_validation.RequestValidationMiddleware")
    MIDDLEWARE = [*MIDDLEWARE[: _guard + 1], "devtools.profiling.ProfilingMiddleware", *MIDDLEWARE[_guard + 1 :]]
    # The newest thousand requests, without their bodies and those of the responses.
    SILKY_MAX_RECORDED_REQUESTS = 1000
    SILKY_MAX_REQUEST_BODY_SIZE = 0
    SILKY_MAX_RESPONSE_BODY_SIZE = 0
    # Its pages have inline scripts and styles.
    CONTENT_SECURITY_POLICY = dict[str, Any](CONTENT_SECURITY_POLICY, EXCLUDE_URL_PREFIXES=["/silk/"])
