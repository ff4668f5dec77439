"""Settings of all environments, safe by default.

`production` and `staging` use them unchanged; `local` and `test` change what differs there. What differs by machine is an
environment variable, declared in config/keys.py or by an app; nothing outside `config/` reads the environment.
"""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import django_stubs_ext
from csp.constants import NONE, SELF

from apps.core.observability import logs
from apps.database import libpq
from apps.database.timeouts import REPLICA_STATEMENT_TIMEOUT_S
from config import product
from config.env import load, set_environment_variable
from config.keys import SSLMODES

# Makes annotations like ModelAdmin[Account] work at run time.
django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent.parent

# Raises ConfigurationError if a key is missing, malformed or, in a deployment, unsafe.
env = load()


# Session parameters that the code relies on, whatever the defaults of the database and the role are. Not
# default_transaction_read_only: a server that is read-only shows it by the same parameter (apps.database.postgresql).
SESSION = {
    "DateStyle": "ISO,MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    # A statement waits for a row, then reads its newest version.
    "default_transaction_isolation": r"read\ committed",
    "default_transaction_deferrable": "off",
}
# libpq sends these variables after all options, so they would win.
for _variable in ("PGDATESTYLE", "PGTZ", "PGGEQO"):
    set_environment_variable(_variable, None)


def database(url: str, *, key: str = "DATABASE_URL", is_replica: bool = False) -> dict[str, Any]:
    """Return the `DATABASES` entry for a `postgres://` URL, the value of `key`.

    Connections persist and are checked before each request, which recovers from an outage in milliseconds where
    psycopg's pool takes seconds. A request never waits long: 2 s to connect, 2 s for a lock, 5 s for a statement, and 6 s
    for a server that has fallen silent (`apps.database.postgresql`); TCP itself finds a peer that is gone within a minute. A
    password that was rotated is read again (`DATABASE_CREDENTIALS_HOOK`). A replica refuses to write, and has
    `REPLICA_STATEMENT_TIMEOUT_S` for a statement: the primary answers in its place.
    """
    given = libpq.parameters(url)
    route = libpq.route(given)
    limits_s = {
        "lock_timeout": env("LOCK_TIMEOUT"),
        "statement_timeout": env("STATEMENT_TIMEOUT"),
        "idle_in_transaction_session_timeout": 10,
    }
    if is_replica:
        limits_s["statement_timeout"] = min(limits_s["statement_timeout"], REPLICA_STATEMENT_TIMEOUT_S)
    parameters = SESSION | {name: round(seconds * 1000) for name, seconds in limits_s.items()}
    if is_replica:
        parameters["default_transaction_read_only"] = "on"
    options: dict[str, Any] = {
        "application_name": product.NAME,
        "connect_timeout": 2,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        # Of apps.database.prepared alone: 0, at the first use; None, never.
        "prepare_threshold": None if env("DATABASE_TRANSACTION_POOLER") else 0,
    }
    if route.over_network:
        options["sslmode"] = max(env("DATABASE_SSLMODE"), route.sslmode, key=SSLMODES.index)
    # The last one wins: a URL may name another schema.
    session = [
        "-c search_path=public",
        given.pop("options", ""),
        *(f"-c {name}={parameters[name]}" for name in parameters),
    ]
    return {
        "ENGINE": "apps.database.postgresql",
        "URL_KEY": key,
        "IS_REPLICA": is_replica,
        "NAME": given.pop("dbname", ""),
        "USER": given.pop("user", ""),
        "PASSWORD": given.pop("password", ""),
        "HOST": given.pop("host", ""),
        "PORT": given.pop("port", ""),
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options | given | {"options": " ".join(filter(None, session))},
    }


# --- Django ----------------------------------------------------------------------------------------------------------

# The commit that the image was built from, shown by /livez/.
REVISION = env("REVISION")
ENVIRONMENT = env.name
# The title of the admin.
PRODUCT_TITLE = product.TITLE
DEBUG = env("DEBUG")
SECRET_KEY = env("SECRET_KEY")
SECRET_KEY_FALLBACKS = env("SECRET_KEY_FALLBACKS")
ALLOWED_HOSTS = env("ALLOWED_HOSTS")
REPLICA = (
    {"replica": database(env("REPLICA_DATABASE_URL"), key="REPLICA_DATABASE_URL", is_replica=True)}
    if env("REPLICA_DATABASE_URL")
    else {}
)
# Empty in `base` itself, which builds the image.
DATABASES = {"default": database(env("DATABASE_URL")), **REPLICA} if env("DATABASE_URL") else {}
# A router of another database goes before it (docs/databases.md).
DATABASE_ROUTERS = ["apps.database.routers.PrimaryRouter"]
REPLICA_MAX_LAG_S = env("REPLICA_MAX_LAG")
# The role that owns the tables, for `manage.py migrate` alone.
MIGRATION_DATABASE = (
    database(env("MIGRATION_DATABASE_URL"), key="MIGRATION_DATABASE_URL") if env("MIGRATION_DATABASE_URL") else None
)
# The login of `manage.py prepare_database` alone.
DATABASE_MASTER = {"USER": env("DATABASE_MASTER_USER"), "PASSWORD": env("DATABASE_MASTER_PASSWORD")}
# Of the serving role, which `manage.py prepare_database` sets: the reserved ones are for others. -1: no limit.
DATABASE_CONNECTION_LIMIT = (
    env("DATABASE_MAX_CONNECTIONS") - env("DATABASE_RESERVED_CONNECTIONS") if env("DATABASE_MAX_CONNECTIONS") else -1
)
# Returns a rotated DATABASE_URL when the server refuses the password (apps.database.postgresql.credentials).
DATABASE_CREDENTIALS_HOOK = "config.env.reread_from_secret"
# Statements queue behind a migration that waits for a table, and must not reach their own limit.
MIGRATION_LOCK_TIMEOUT_S = env("LOCK_TIMEOUT") / 2
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

INSTALLED_APPS = [
    "apps.users.apps.LimitedAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "config",
    "corsheaders",
    "csp",
    "django_prometheus",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "apps.core",
    "apps.database",
    "apps.users",
    "apps.ledger",  # <sample/>
]

# apps/core/middleware/__init__.py gives the order and the reason for it.
MIDDLEWARE = [
    "apps.core.middleware.security_headers.PagePolicyMiddleware",
    "apps.core.middleware.security_headers.SecurityHeadersMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "apps.core.middleware.probes.ProbesMiddleware",
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "apps.core.observability.metrics.RequestsInProgressMiddleware",
    "apps.core.middleware.request_id.RequestIdMiddleware",
    "apps.core.middleware.request_log.RequestLogMiddleware",
    *(["apps.core.observability.sentry.SentryRequestIdMiddleware"] if env("SENTRY_DSN") else []),
    *(["corsheaders.middleware.CorsMiddleware"] if env("CORS_ALLOWED_ORIGINS") else []),
    "apps.core.middleware.request_validation.RequestValidationMiddleware",
    "django.middleware.common.CommonMiddleware",
    # Requests of the API do not pass what is between these two.
    "apps.core.middleware.pages.BeginPagesMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "apps.core.middleware.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "apps.core.middleware.pages.EndPagesMiddleware",
    "apps.core.observability.metrics.BoundedAfterMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# No redirects to a slash: they would turn a client's POST into a GET.
APPEND_SLASH = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# Scripts and styles are for our own pages only.
WHITENOISE_ALLOW_ALL_ORIGINS = False

# An API body is a few hundred bytes; apps.core.middleware.request_validation answers 413 beyond this.
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024
# A page of the admin with every row selected has slightly over a hundred.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 250

# --- Surfaces --------------------------------------------------------------------------------------------------------

# Empty: the admin is not mounted.
ADMIN_PATH = env("ADMIN_PATH")
DOCS_OPEN = env("DOCS_OPEN")

# Origins whose pages may call the API, with a token and never with a cookie.
CORS_ALLOWED_ORIGINS = [origin for origin in env("CORS_ALLOWED_ORIGINS") if origin != "*"]
CORS_ALLOW_ALL_ORIGINS = "*" in env("CORS_ALLOWED_ORIGINS")
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_CREDENTIALS = False
CORS_ALLOW_METHODS = ["DELETE", "GET", "PATCH", "POST"]
CORS_ALLOW_HEADERS = [
    "Accept",
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Min-Version",
    "X-Request-ID",
]
CORS_EXPOSE_HEADERS = ["ETag", "Idempotent-Replayed", "Location", "Retry-After", "X-Request-ID"]

# A response of the API is no page: it loads nothing, and nothing frames it.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        "form-action": [NONE],
    }
}
# Additions for the pages of the admin and Swagger UI: files of this origin, no inline script.
CONTENT_SECURITY_POLICY_OF_PAGES = {
    "connect-src": [SELF],
    "font-src": [SELF],
    "form-action": [SELF],
    "img-src": [SELF, "data:"],
    "script-src": [SELF],
    # The one <style> of drf-spectacular's page; after an upgrade, the browser's console shows the new hash.
    "style-src": [SELF, "'sha256-MMpT0iDxyjALd9PdfepImGX3DBfJPXZ4IlDWdPAgtn0='"],
}

# --- HTTPS -----------------------------------------------------------------------------------------------------------

# TLS ends at our proxy, which sets this header and drops the client's; without a proxy it is not trusted.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env("NUM_PROXIES") else None
# For pages. The API's redirect would come after the token was sent in plain text: apps.core.middleware.request_validation
# refuses instead.
SECURE_SSL_REDIRECT = True
SECURE_HSTS_SECONDS = 63_072_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = env("SECURE_HSTS_PRELOAD")
# Preloading is a promise about the whole domain and hard to take back: the operator decides.
SILENCED_SYSTEM_CHECKS = [] if SECURE_HSTS_PRELOAD else ["security.W021"]
# Under no-referrer a browser sends `Origin: null` with the admin's forms, and none would pass the check against forgery.
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_NAME = "__Host-sessionid"
SESSION_COOKIE_SECURE = True
SESSION_COOKIE_AGE = 8 * 60 * 60
CSRF_COOKIE_NAME = "__Host-csrftoken"
CSRF_COOKIE_SECURE = True
CSRF_COOKIE_HTTPONLY = True

# --- Users -----------------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "users.User"
# The inner validators see the password as it is stored: add yours there.
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "apps.users.passwords.CanonicalPasswordValidator",
        "OPTIONS": {
            "validators": [
                {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
                {
                    "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
                    "OPTIONS": {"min_length": 12},
                },
                {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
                {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
            ]
        },
    }
]
PASSWORD_HASHERS = [
    "apps.users.hashers.BoundedArgon2PasswordHasher",
    "apps.users.hashers.PBKDF2PasswordHasher",
]

SIGN_UP_OPEN = env("SIGN_UP_OPEN")
TOKEN_LIFETIME = timedelta(hours=10)
TOKENS_PER_USER = 10
LOGIN_FAILURE_WINDOW = timedelta(minutes=15)
LOGIN_FAILURES_PER_USERNAME_AND_ADDRESS = 10
LOGIN_FAILURES_PER_USERNAME = 100
LOGIN_FAILURES_PER_ADDRESS = 100

# --- Limits and their cache --------------------------------------------------------------------------------------------

REDIS_URL = env("REDIS_URL")
if REDIS_URL:
    # Shared by all workers and servers. It responds within 0.25 s, or is treated as absent.
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": REDIS_URL,
            "KEY_PREFIX": product.NAME,
            "OPTIONS": {"socket_connect_timeout": 0.25, "socket_timeout": 0.25},
        }
    }
# apps.core.throttling; no limit without a shared cache.
THROTTLE_USER_PER_MINUTE = env("THROTTLE_USER_PER_MINUTE") if REDIS_URL else 0
THROTTLE_ANONYMOUS_PER_MINUTE = env("THROTTLE_ANONYMOUS_PER_MINUTE") if REDIS_URL else 0

# --- Amounts (apps/core/money) -----------------------------------------------------------------------------------------

DEFAULT_CURRENCY = "USD"
MAX_AMOUNT = Decimal(1_000_000_000)

# --- Example data ----------------------------------------------------------------------------------------------------

# Example data is for local use and the test server.
POPULATE_ALLOWED = False

# <sample>
# The queue in front of the posting statement; without this line there is none (apps/ledger/gate).
LEDGER_GATE_FACTORY = "apps.ledger.gate.get_gate"
# How long an account is held, and how long a command waits for it, in seconds.
LEDGER_GATE = env("LEDGER_GATE")
LEDGER_GATE_LEASE = env("LEDGER_GATE_LEASE")
LEDGER_GATE_WAIT = env("LEDGER_GATE_WAIT")
# </sample>

# --- API -------------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["apps.users.authentication.ExpiringTokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["apps.core.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "apps.core.pagination.SignedCursorPagination",
    "DEFAULT_SCHEMA_CLASS": "apps.core.schema.ProblemAutoSchema",
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_THROTTLE_CLASSES": ["apps.core.throttling.RequestThrottle"],
    "EXCEPTION_HANDLER": "apps.core.problem.exception_handler",
    # How many of our proxies append to X-Forwarded-For; 0 trusts the socket's address only.
    "NUM_PROXIES": env("NUM_PROXIES"),
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "URL_FORMAT_OVERRIDE": None,
}

SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": f"{product.TITLE} API",
    "DESCRIPTION": (
        f"{product.DESCRIPTION}\n\n"
        "A POST that creates or moves something takes an `Idempotency-Key`. The rule for a client is two lines: 409, 429, "
        "5xx or no answer: send the same key again; any other 4xx is final."
    ),
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SCHEMA_PATH_PREFIX": r"/api(/v1)?",
    "ENUM_NAME_OVERRIDES": {
        "CurrencyEnum": "apps.core.money.fields.CODES",
        "CurrentCurrencyEnum": "apps.core.money.fields.CURRENT_CODES",
    },
    "PATH_CONVERTER_OVERRIDES": {"canonical_uuid": {"type": "string", "format": "uuid"}},
    "COMPONENT_SPLIT_REQUEST": True,
    # A PATCH has a serializer of its own, which declares its optional fields.
    "COMPONENT_SPLIT_PATCH": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {
        "deepLinking": True,
        "persistAuthorization": False,
        # Or the browser would have the document validated by a public server.
        "validatorUrl": None,
    },
}

# --- Metrics ---------------------------------------------------------------------------------------------------------

if not env.is_gunicorn:
    # Only gunicorn's workers share their counts (server.metrics): those of another process would stay there for ever.
    set_environment_variable("PROMETHEUS_MULTIPROC_DIR", None)

# In seconds. 0.3 is the service level objective's bound, so that what is slower can be counted exactly.
PROMETHEUS_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2.5, 5)
# It would query the database while the process starts, which must work without one; /readyz/ checks migrations.
PROMETHEUS_EXPORT_MIGRATIONS = False

# --- Logs and errors -------------------------------------------------------------------------------------------------

# The log lines of a command do not mix with its output.
LOGGING = logs.configuration(
    log_format=env("LOG_FORMAT"),
    stream="stdout" if env.is_gunicorn else "stderr",
    release=REVISION,
    environment=ENVIRONMENT,
)

# config.wsgi starts it in each worker if there is a DSN.
SENTRY_DSN = env("SENTRY_DSN")
SENTRY_TRACES_SAMPLE_RATE = env("SENTRY_TRACES_SAMPLE_RATE")
