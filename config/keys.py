"""Environment variables of Django, the database, the server, logs and errors: their declaration, and rules between them.

To add a key, add a line to `KEYS`, here or in an app's `environment.py`, and run `make configuration`, which writes
docs/configuration.md, .env.example and the lists in the Compose files. A value is read by `config.env`.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from apps.core.configuration import BOOLEAN, DEPLOYED, SECONDS, TEXT, Key, Rules, ValueType, integer, list_of, one_of
from apps.database import libpq
from apps.database.timeouts import RESPONSE_TIMEOUT_S

# `base` builds the image and generates documents: nothing is required there.
ENVIRONMENTS: Final = ("base", "local", "test", *DEPLOYED)
# Connections of a worker besides those of its threads: the probes' own (apps.core.middleware.probes).
PROBE_CONNECTIONS: Final = 1
# From the weakest to the strongest.
SSLMODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
LIMITS_PER_MINUTE: Final = ("THROTTLE_USER_PER_MINUTE", "THROTTLE_ANONYMOUS_PER_MINUTE")

# --- Types -----------------------------------------------------------------------------------------------------------


def _are_origins(origins: list[str]) -> bool:
    """Return whether these are origins as browsers send them: without the scheme's default port."""
    urls = [urlsplit(origin) for origin in origins if origin != "*"]
    return all(url.port != {"http": 80, "https": 443}[url.scheme] for url in urls)


def _is_postgres_url(url: str) -> bool:
    found = libpq.parameters(url)
    libpq.check(found)
    # Time limits are keys of their own.
    return bool(found.get("dbname")) and not re.search("lock_timeout|statement_timeout", found.get("options", ""))


def _has_valid_port(url: str) -> bool:
    return urlsplit(url).port != 0


DOMAIN: Final = r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]"
TEXTS: Final = list_of("texts separated by commas", r"[^,\s]([^,]*[^,\s])?")
HOSTS: Final = list_of(
    "host names separated by commas, without scheme or port (.example.org: with its subdomains)",
    rf"(?i:\*|\.?({DOMAIN}))",
)
ORIGINS: Final = list_of(
    "origins separated by commas, as browsers send them: https://app.example.org, in small letters, with a port where it is "
    "not the default, without a path, a slash at the end or a wildcard",
    rf"(\*|https?://({DOMAIN})(:[1-9]\d{{0,4}})?)",
    _are_origins,
)
# Not a path of the application's own, which would hide the admin or be hidden by it.
URL_PATH: Final = ValueType(
    "a path like back-office/, in small letters and unlike the others that are served",
    pattern=r"(?!(api|livez|ping|readyz|schema|static)/)([a-z0-9][a-z0-9_-]*/)+",
)
FRACTION: Final = ValueType("a number from 0 to 1", float, r"0(\.\d+)?|1(\.0+)?")
PORT: Final = integer(1, 65_535)
POSTGRES_URL: Final = ValueType(
    "a URL postgres://user:password@host:port/database, its parts percent-encoded, its parameters libpq's",
    is_valid=_is_postgres_url,
)
REDIS_URL: Final = ValueType("a URL redis://, rediss:// or unix://", str, r"(redis|rediss|unix)://.*", _has_valid_port)
SENTRY_DSN: Final = ValueType(
    "a URL https://key@host/project", str, r"(?i:https?)://[^/@]+@[^/@]+/(.+/)?\d+", _has_valid_port
)

# --- Values that a deployment refuses --------------------------------------------------------------------------------


def debug_pages(on: bool) -> str:  # noqa: FBT001  the value of a key
    return "must be off: its pages show the settings and the code" if on else ""


def weak_key(given: str | list[str]) -> str:
    """Return that a signing key is weak, or one of several, by Django's own measure (security.W009)."""
    keys = [given] if isinstance(given, str) else given
    weak = any(len(key) < 50 or len(set(key)) < 5 or key.startswith("django-insecure-") for key in keys)  # noqa: PLR2004
    return "is weak: at least 50 random characters are needed" if weak else ""


def any_host(hosts: list[str]) -> str:
    return "must name its hosts: * allows a client to choose one" if "*" in hosts else ""


def unsafe_origin(origins: list[str]) -> str:
    if "*" in origins:
        return "must name its origins: * allows every page to read the responses"
    insecure = any(origin.startswith("http:") for origin in origins)
    return "must be https: plain HTTP can be changed on the way" if insecure else ""


def missing_password(url: str) -> str:
    """Return that a database over a network is reached without a password or a client's certificate."""
    route = libpq.route(libpq.parameters(url))
    return "" if route.has_proof or not route.over_network else "names no password, and libpq finds none elsewhere"


# --- Keys ------------------------------------------------------------------------------------------------------------

KEYS: Final[Mapping[str, Key]] = {
    "DJANGO_SETTINGS_MODULE": Key(
        TEXT,
        "The settings module; its last part is the environment. An unknown one has production's requirements.",
        required_in=ENVIRONMENTS,
        environment_only=True,
    ),
    "APP_SECRETS_ID": Key(
        TEXT,
        "The name or ARN of the secret in AWS Secrets Manager: a JSON object of strings, named like these keys.",
        environment_only=True,
    ),
    "AWS_REGION": Key(TEXT, "The region of the secret, unless APP_SECRETS_ID is an ARN.", environment_only=True),
    # Django
    "DEBUG": Key(BOOLEAN, "Django's debug pages.", default=False, example="true", unsafe=debug_pages),
    "SECRET_KEY": Key(TEXT, "Signs sessions and cursors.", example="local-only", required_in=DEPLOYED, unsafe=weak_key),
    "SECRET_KEY_FALLBACKS": Key(
        TEXTS,
        "Earlier keys that are still accepted: on a rotation, put the old one here for a session's life.",
        default=[],
        example="the-one-before",
        unsafe=weak_key,
    ),
    "ALLOWED_HOSTS": Key(
        HOSTS,
        "The host names that are served.",
        default=[],
        example="localhost,127.0.0.1,[::1]",
        required_in=DEPLOYED,
        unsafe=any_host,
    ),
    "ADMIN_PATH": Key(URL_PATH, "The path of the admin; without one it is not mounted.", example="admin/"),
    "DOCS_OPEN": Key(BOOLEAN, "Serve /schema/ and /schema/swagger-ui/.", default=False, example="true"),
    "CORS_ALLOWED_ORIGINS": Key(
        ORIGINS,
        "The origins of browser applications that may call /api/ with a token, without cookies (CORS); locally * is any.",
        default=[],
        example="http://localhost:5173",
        unsafe=unsafe_origin,
    ),
    # Database
    "DATABASE_URL": Key(
        POSTGRES_URL,
        "The database (docs/database.md), without options for time limits. Locally, without one, `make` starts a server.",
        example="postgres://app:app@localhost:5432/app",
        required_in=DEPLOYED,
        unsafe=missing_password,
    ),
    "MIGRATION_DATABASE_URL": Key(
        POSTGRES_URL,
        "The same database as the role that owns its tables, for `manage.py migrate` alone, which grants what is needed to "
        "the role in DATABASE_URL (docs/database.md). Without one, DATABASE_URL serves both.",
        example="postgres://owner:owner@localhost:5432/app",
        unsafe=missing_password,
        # The serving process must not have it.
        environment_only=True,
    ),
    "REPLICA_DATABASE_URL": Key(
        POSTGRES_URL,
        "A streaming replica of the same database, for lists that may be a moment old (docs/databases.md); optional. With "
        "Docker, the host `replica` is one that `make up` starts.",
        example="postgres://app:app@replica:5432/app",
        unsafe=missing_password,
    ),
    "REPLICA_MAX_LAG": Key(
        SECONDS, "How far the replica may be behind; beyond it the primary answers.", default=2.0, example="2"
    ),
    "DATABASE_MASTER_USER": Key(
        TEXT,
        "A role that may create roles, as which only `manage.py prepare_database` logs in (docs/database.md).",
        environment_only=True,
    ),
    "DATABASE_MASTER_PASSWORD": Key(TEXT, "Its password.", environment_only=True),
    "DATABASE_SSLMODE": Key(
        one_of(*SSLMODES),
        "The weakest sslmode over a network: used where the URL names none, and the weakest that it may name. verify-full "
        "needs sslrootcert in the URL unless libpq's default file exists.",
        default="verify-full",
        default_elsewhere="disable",
    ),
    "DATABASE_TRANSACTION_POOLER": Key(
        BOOLEAN,
        "Whether DATABASE_URL leads to a pooler in transaction mode, which keeps no session: no statement is prepared then "
        "(docs/database.md).",
        default=False,
        example="false",
    ),
    "TEST_DATABASE_URL": Key(
        POSTGRES_URL,
        "The tests' database app_test, of a role that may create databases; without one, `make` starts a server.",
        example="postgres://app:app@localhost:5433/app_test",
    ),
    "DATABASE_MAX_CONNECTIONS": Key(
        integer(0, 100_000),
        "max_connections of the database, and of its replica; 0 checks nothing. DATABASE_RESERVED_CONNECTIONS + "
        f"WEB_REPLICAS x WEB_CONCURRENCY x (GUNICORN_THREADS + {PROBE_CONNECTIONS} for the probes) must fit into each.",
        default=0,
    ),
    "DATABASE_RESERVED_CONNECTIONS": Key(
        integer(0, 100_000), "Connections kept for migrations, monitoring and people.", default=10
    ),
    "LOCK_TIMEOUT": Key(SECONDS, "How long a statement waits for a lock.", default=2.0, example="2"),
    "STATEMENT_TIMEOUT": Key(
        SECONDS,
        f"How long a statement runs; above LOCK_TIMEOUT, below {RESPONSE_TIMEOUT_S:g}, when the client gives up.",
        default=5.0,
        example="5",
    ),
    # Server
    "REVISION": Key(
        TEXT, "The deployed commit, in /livez/; images have it built in.", default="unknown", environment_only=True
    ),
    "PORT": Key(PORT, "gunicorn's port.", default=8000, example="8000", environment_only=True),
    "METRICS_PORT": Key(
        PORT,
        "The port on which gunicorn's arbiter serves /metrics and nothing else; for Prometheus only, not the public.",
        default=9464,
        example="9464",
        environment_only=True,
    ),
    "PROMETHEUS_MULTIPROC_DIR": Key(
        TEXT,
        "The directory of the workers' counts, in memory and this server's alone: it is emptied at the start. Without one a "
        "new one is created in /dev/shm.",
        environment_only=True,
    ),
    "WEB_CONCURRENCY": Key(integer(1, 256), "gunicorn's worker processes.", default=2, example="2"),
    "WEB_REPLICAS": Key(
        integer(1, 10_000),
        "How many servers like this one run at once, including those that a deployment starts before it stops the old.",
        default=1,
    ),
    "GUNICORN_THREADS": Key(integer(1, 256), "Threads of each worker.", default=4, example="4"),
    "WORKER_TIMEOUT": Key(
        integer(1, 3600),
        "A worker whose main thread is silent for so many seconds is replaced. It ends no request: the proxy's limits do.",
        default=30,
        example="30",
    ),
    "DRAIN_SECONDS": Key(
        integer(0, 600),
        "How long a server still serves after a SIGTERM while /readyz/ answers 503: as long as a load balancer takes to "
        "notice. Then requests in flight have 30 s. The platform's grace must be longer than both: 45 s in "
        "deploy/ecs.",
        default=5,
        default_elsewhere=0,
        example="0",
    ),
    "NUM_PROXIES": Key(
        integer(0, 10),
        "How many of our proxies append to X-Forwarded-For and, ending TLS, set X-Forwarded-Proto; 0 trusts the socket's "
        "address and scheme only, so that a deployment serves probes only.",
        default=0,
    ),
    "THROTTLE_USER_PER_MINUTE": Key(
        integer(0, 1_000_000),
        "How many requests one user may send to the API in a minute, counted in REDIS_URL by all servers; then 429. 0 is no "
        "limit, and without REDIS_URL there is none.",
        default=600,
        example="600",
    ),
    "THROTTLE_ANONYMOUS_PER_MINUTE": Key(
        integer(0, 1_000_000),
        "The same for one address (of IPv6: one /64) whose requests have no valid token; NUM_PROXIES decides which address "
        "is trusted.",
        default=60,
        example="60",
    ),
    "SECURE_HSTS_PRELOAD": Key(
        BOOLEAN,
        "Ask browsers to preload HSTS: a promise about the whole domain that is hard to take back.",
        default=False,
    ),
    # Logs and errors
    "LOG_FORMAT": Key(
        one_of("json", "text"),
        "The format of log lines.",
        default="json",
        default_elsewhere="text",
        example="json",
        environment_only=True,
    ),
    "SENTRY_DSN": Key(
        SENTRY_DSN,
        "Receives unforeseen errors and a sample of the requests; without one, nothing is sent.",
        example="https://key@sentry.example.org/1",
    ),
    "SENTRY_TRACES_SAMPLE_RATE": Key(
        FRACTION, "The share of requests whose times are sent to Sentry; probes never are.", default=0.0, example="0.1"
    ),
    "SILK": Key(
        BOOLEAN,
        "Locally: django-silk records each request's queries and shows them under /silk/.",
        default=False,
        example="false",
    ),
    # Redis
    "REDIS_URL": Key(REDIS_URL, "The Redis of the rate limits.", example="redis://localhost:6379/0"),
    "TEST_REDIS_URL": Key(
        REDIS_URL, "The tests' Redis; without one, they start their own.", example="redis://localhost:6379/1"
    ),
}

# --- Rules between keys ----------------------------------------------------------------------------------------------


def timeouts_ascend(env: Any) -> str:
    if env("LOCK_TIMEOUT") < env("STATEMENT_TIMEOUT") < RESPONSE_TIMEOUT_S < env("WORKER_TIMEOUT"):
        return ""
    return f"must rise in this order, the statement's below {RESPONSE_TIMEOUT_S:g} s and the worker's above"


def throttles_have_redis(env: Any) -> str:
    """A limit that is given needs Redis; the defaults hold only where there is one."""
    given = any(env.sources[name] != "default" and env(name) for name in LIMITS_PER_MINUTE)
    return "must be given together: requests are counted in Redis" if given and not env("REDIS_URL") else ""


def connections_fit(env: Any) -> str:
    used = env("WEB_REPLICAS") * env("WEB_CONCURRENCY") * (env("GUNICORN_THREADS") + PROBE_CONNECTIONS)
    most = env("DATABASE_MAX_CONNECTIONS")
    if not most or used + env("DATABASE_RESERVED_CONNECTIONS") <= most:
        return ""
    return f"do not fit: replicas x workers x (threads + {PROBE_CONNECTIONS} for the probes) + reserved are more"


def connection_is_encrypted(env: Any, *, key: str) -> str:
    """Check the sslmode that a URL names; where it names none, the settings do."""
    found = libpq.parameters(env(key)) if env(key) else {}
    if "sslmode" not in found or not libpq.route(found).over_network:
        return ""
    too_weak = SSLMODES.index(found["sslmode"]) < SSLMODES.index(env("DATABASE_SSLMODE"))
    return "disagree: the URL asks for a weaker sslmode" if too_weak else ""


RULES: Final[Rules] = {
    ("LOCK_TIMEOUT", "STATEMENT_TIMEOUT", "WORKER_TIMEOUT"): timeouts_ascend,
    (*LIMITS_PER_MINUTE, "REDIS_URL"): throttles_have_redis,
    (
        "DATABASE_MAX_CONNECTIONS",
        "DATABASE_RESERVED_CONNECTIONS",
        "WEB_REPLICAS",
        "WEB_CONCURRENCY",
        "GUNICORN_THREADS",
    ): connections_fit,
    ("DATABASE_URL", "DATABASE_SSLMODE"): partial(connection_is_encrypted, key="DATABASE_URL"),
    ("REPLICA_DATABASE_URL", "DATABASE_SSLMODE"): partial(connection_is_encrypted, key="REPLICA_DATABASE_URL"),
    ("MIGRATION_DATABASE_URL", "DATABASE_SSLMODE"): partial(connection_is_encrypted, key="MIGRATION_DATABASE_URL"),
}
