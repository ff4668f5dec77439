"""Environment variables: the one declaration of every key, and their values.

A value comes from the environment, else from the AWS secret that APP_SECRETS_ID names, else it is the default; an empty
value counts as absent. Casting and reading are django-environ's: `env("PORT")`, `env("DEBUG", default=True)`. A default that
differs by environment stands in that environment's settings module.

To add a key, add a line to `KEYS` and run `make configuration`, which writes docs/configuration.md, .env.example and the
lists in the Compose files. To constrain several keys together, add a `@rule`.

Raises: `load()` raises one `ConfigurationError` that names every missing, malformed and unsafe key, and no value.
"""

import logging
import math
import os
import re
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from environ import Env

from apps.database import libpq
from apps.database.timeouts import RESPONSE_TIMEOUT_S
from config import secrets_manager

DEPLOYED: Final = ("staging", "production")
# `base` builds the image and generates documents: nothing is required there.
ENVIRONMENTS: Final = ("base", "local", "test", *DEPLOYED)
# An image and the test suite do not depend on a secret.
ENVIRONMENTS_WITHOUT_SECRET: Final = frozenset({"base", "test"})

# Connections of a worker besides those of its threads: the probes' own (apps.core.middleware.probes).
PROBE_CONNECTIONS: Final = 1
# From the weakest to the strongest.
SSLMODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
LIMITS_PER_MINUTE: Final = ("THROTTLE_USER_PER_MINUTE", "THROTTLE_ANONYMOUS_PER_MINUTE")

logger = logging.getLogger(__name__)


class ConfigurationError(ImproperlyConfigured):
    """The configuration is invalid. The text is for operators: entry points print it and exit with 1."""

    def __init__(self, settings_module: str, problems: Collection[str]) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = [
            f"error: {settings_module or 'the application'} cannot start: {count} with its configuration",
            *(f"  {problem}" for problem in sorted(problems)),
            "Every key is described in docs/configuration.md.",
        ]
        super().__init__("\n".join(lines))


# --- Types -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ValueType:
    """A type of values.

    words: completes "must be". cast: django-environ's. pattern: matches the whole text. is_valid: judges the value; it may
    raise `ValueError`.
    """

    words: str
    cast: Any = str
    pattern: str = r"(?s:.*)"
    is_valid: Callable[[Any], bool] = lambda _value: True

    def parse(self, text: str) -> Any:
        """Return the value, or raise `ValueError` with a text that does not contain it: it may be secret."""
        try:
            if text == text.strip() and re.fullmatch(self.pattern, text, re.ASCII):
                value = Env.parse_value(text, self.cast)
                if self.is_valid(value):
                    return value
        # A library's message may quote what it could not read.
        except ValueError:
            pass
        raise ValueError(f"must be {self.words}")


def _list_of(item: str) -> str:
    return rf"{item}(\s*,\s*{item})*"


def _integer(least: int, most: int) -> ValueType:
    return ValueType(f"a whole number from {least} to {most}", int, r"\d{1,10}", lambda number: least <= number <= most)


def _one_of(*choices: str) -> ValueType:
    return ValueType(f"one of {', '.join(choices)}", str, "|".join(choices))


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
TEXT: Final = ValueType("text without spaces around it")
BOOLEAN: Final = ValueType("true or false", bool, "(?i:true|on|ok|yes|y|1|false|off|no|n|0)")
TEXTS: Final = ValueType("texts separated by commas", [str.strip], _list_of(r"[^,\s]([^,]*[^,\s])?"), all)
HOSTS: Final = ValueType(
    "host names separated by commas, without scheme or port (.example.org: with its subdomains)",
    [str.strip],
    _list_of(rf"(?i:\*|\.?({DOMAIN}))"),
)
ORIGINS: Final = ValueType(
    "origins separated by commas, as browsers send them: https://app.example.org, in small letters, with a port where it is "
    "not the default, without a path, a slash at the end or a wildcard",
    [str.strip],
    _list_of(rf"(\*|https?://({DOMAIN})(:[1-9]\d{{0,4}})?)"),
    _are_origins,
)
# Not a path of the application's own, which would hide the admin or be hidden by it.
URL_PATH: Final = ValueType(
    "a path like back-office/, in small letters and unlike the others that are served",
    str,
    r"(?!(api|livez|ping|readyz|schema|static)/)([a-z0-9][a-z0-9_-]*/)+",
)
SECONDS: Final = ValueType("a number of seconds above 0", float, r"\d+(\.\d+)?", lambda seconds: 0 < seconds < math.inf)
FRACTION: Final = ValueType("a number from 0 to 1", float, r"0(\.\d+)?|1(\.0+)?")
POSTGRES_URL: Final = ValueType(
    "a URL postgres://user:password@host:port/database, its parts percent-encoded, its parameters libpq's",
    is_valid=_is_postgres_url,
)
REDIS_URL: Final = ValueType("a URL redis://, rediss:// or unix://", str, r"(redis|rediss|unix)://.*", _has_valid_port)
SENTRY_DSN: Final = ValueType(
    "a URL https://key@host/project", str, r"(?i:https?)://[^/@]+@[^/@]+/(.+/)?\d+", _has_valid_port
)


# --- Values that a deployment refuses --------------------------------------------------------------------------------


def weak_key(key: str) -> str:
    """Return why a signing key is weak, by Django's own measure (security.W009)."""
    weak = len(key) < 50 or len(set(key)) < 5 or key.startswith("django-insecure-")  # noqa: PLR2004  Django's figures
    return "is weak: at least 50 random characters are needed" if weak else ""


def weak_keys(keys: list[str]) -> str:
    return next(filter(None, map(weak_key, keys)), "")


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


def debug_enabled(enabled: bool) -> str:  # noqa: FBT001  the value of a key
    return "must be off: its pages show the settings and the code" if enabled else ""


# --- Keys ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """One environment variable.

    example: what .env.example shows; a key with an example is passed on to Compose's containers.
    required_in: the environments that do not start without it.
    unsafe: returns why a deployment refuses a value.
    environment_only: never read from the secret: needed to find it, or by programs that read the environment only.
    """

    type: ValueType
    description: str
    _: KW_ONLY
    default: Any = ""
    example: str = ""
    required_in: Collection[str] = ()
    unsafe: Callable[[Any], str] | None = None
    environment_only: bool = False


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
    "DEBUG": Key(BOOLEAN, "Django's debug pages.", default=False, example="true", unsafe=debug_enabled),
    "SECRET_KEY": Key(TEXT, "Signs sessions and cursors.", example="local-only", required_in=DEPLOYED, unsafe=weak_key),
    "SECRET_KEY_FALLBACKS": Key(
        TEXTS,
        "Earlier keys that are still accepted: on a rotation, put the old one here for a session's life.",
        default=[],
        example="the-one-before",
        unsafe=weak_keys,
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
    "SIGN_UP_OPEN": Key(BOOLEAN, "Allow everyone to create a user.", default=False, example="true"),
    "CORS_ALLOWED_ORIGINS": Key(
        ORIGINS,
        "The origins of browser applications that may call /api/ (CORS): with a token, without cookies, the API's own "
        "response headers exposed. Without one, pages of other origins cannot. Locally * allows every page.",
        default=[],
        example="http://localhost:5173",
        unsafe=unsafe_origin,
    ),
    # Database
    "DATABASE_URL": Key(
        POSTGRES_URL,
        "The database (docs/database.md). Time limits are the keys below, not options of the URL. Locally, without one, "
        "`make` starts a server.",
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
    "DATABASE_SSLMODE": Key(
        _one_of(*SSLMODES),
        "The weakest sslmode over a network: used where the URL names none, and the weakest that it may name. verify-full "
        "needs sslrootcert in the URL unless libpq's default file exists. Only deployments have the default; elsewhere it "
        "is disable.",
        default="verify-full",
    ),
    "TEST_DATABASE_URL": Key(
        POSTGRES_URL,
        "The tests' database app_test, of a role that may create databases; without one, `make` starts a server.",
        example="postgres://app:app@localhost:5433/app_test",
    ),
    "DATABASE_MAX_CONNECTIONS": Key(
        _integer(0, 100_000),
        "The database's max_connections; 0 checks nothing. DATABASE_RESERVED_CONNECTIONS + WEB_REPLICAS x "
        f"WEB_CONCURRENCY x (GUNICORN_THREADS + {PROBE_CONNECTIONS} for the probes) must fit.",
        default=0,
    ),
    "DATABASE_RESERVED_CONNECTIONS": Key(
        _integer(0, 100_000), "Connections kept for migrations, monitoring and people.", default=10
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
    "PORT": Key(_integer(1, 65_535), "gunicorn's port.", default=8000, example="8000", environment_only=True),
    "METRICS_PORT": Key(
        _integer(1, 65_535),
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
    "WEB_CONCURRENCY": Key(_integer(1, 256), "gunicorn's worker processes.", default=2, example="2"),
    "WEB_REPLICAS": Key(
        _integer(1, 10_000),
        "How many servers like this one run at once, including those that a deployment starts before it stops the old.",
        default=1,
    ),
    "GUNICORN_THREADS": Key(_integer(1, 256), "Threads of each worker.", default=4, example="4"),
    "WORKER_TIMEOUT": Key(
        _integer(1, 3600),
        "A worker is replaced after so many seconds of silence; the outermost of the time limits.",
        default=30,
        example="30",
    ),
    "DRAIN_SECONDS": Key(
        _integer(0, 600),
        "How long a server still serves after a SIGTERM while /readyz/ answers 503: as long as a load balancer takes to "
        "notice. Then requests in flight have 30 s. The platform's grace must be longer than both: 45 s in deploy/ecs. Only "
        "deployments have the default; elsewhere it is 0.",
        default=5,
        example="0",
    ),
    "NUM_PROXIES": Key(
        _integer(0, 10),
        "How many of our proxies append to X-Forwarded-For and, ending TLS, set X-Forwarded-Proto; 0 trusts the socket's "
        "address and scheme only, so that a deployment serves probes only. An entry may have a port, brackets, quotes or a "
        "zone; all that are no address count as one.",
        default=0,
    ),
    "THROTTLE_USER_PER_MINUTE": Key(
        _integer(0, 1_000_000),
        "How many requests one user may send to the API in a minute, counted in REDIS_URL by all servers; then 429. 0 is no "
        "limit, and without REDIS_URL there is none.",
        default=600,
        example="600",
    ),
    "THROTTLE_ANONYMOUS_PER_MINUTE": Key(
        _integer(0, 1_000_000),
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
        _one_of("json", "text"),
        "The format of log lines. Only deployments have the default; elsewhere it is text.",
        default="json",
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
    # Ledger
    "LEDGER_GATE": Key(
        _one_of("off", "redis"),
        "The optional gate (docs/ledger/adr/0005-gate-not-lock.md): requests for a busy account queue in Redis 6 or newer "
        "before they take a database connection. With Docker, redis also starts one where REDIS_URL names none.",
        default="off",
        example="off",
    ),
    "REDIS_URL": Key(REDIS_URL, "The Redis of the rate limits and the gate.", example="redis://localhost:6379/0"),
    "LEDGER_GATE_LEASE": Key(
        SECONDS, "How long the gate holds an account: a statement's limit and one second.", default=6.0, example="6"
    ),
    "LEDGER_GATE_WAIT": Key(SECONDS, "How long a command waits at the gate.", default=2.0, example="2"),
    "TEST_REDIS_URL": Key(
        REDIS_URL, "The tests' Redis; without one, they start their own.", example="redis://localhost:6379/1"
    ),
}


class Environment(Env):  # type: ignore[misc]  # it ships no types
    """django-environ's `Env` on validated texts: `env("PORT")`, `env("DEBUG", default=True)`.

    sources: "environment", "secret" or "default" for each key.
    """

    def __init__(self, name: str, texts: Mapping[str, str], sources: Mapping[str, str]) -> None:
        super().__init__(**{key: (declared.type.cast, declared.default) for key, declared in KEYS.items()})
        self.name = name
        self.sources = sources
        # django-environ takes a text that begins with $ for another variable's name unless the $ is escaped.
        self.escape_proxy = True
        self.ENVIRON = {key: text.replace("$", r"\$") for key, text in texts.items()}

    @property
    def is_gunicorn(self) -> bool:
        """Whether this process is gunicorn's, and not a command."""
        return "SERVER_SOFTWARE" in os.environ

    @property
    def deployed(self) -> bool:
        return self.name in DEPLOYED

    @property
    def weakest_sslmode(self) -> str:
        """The weakest sslmode over a network; outside of deployments there is none but what is given."""
        mode: str = self("DATABASE_SSLMODE") if self.deployed else self("DATABASE_SSLMODE", default="disable")
        return mode


# --- Rules between keys ----------------------------------------------------------------------------------------------

RuleCheck = Callable[[Environment], str]
RULES: Final[list[tuple[tuple[str, ...], RuleCheck]]] = []


def rule(*keys: str) -> Callable[[RuleCheck], RuleCheck]:
    """Register a check of several keys, run if each of them is valid; it returns what is wrong, or an empty text."""

    def register(check: RuleCheck) -> RuleCheck:
        RULES.append((keys, check))
        return check

    return register


@rule("LOCK_TIMEOUT", "STATEMENT_TIMEOUT", "WORKER_TIMEOUT")
def timeouts_ascend(env: Environment) -> str:
    if env("LOCK_TIMEOUT") < env("STATEMENT_TIMEOUT") < RESPONSE_TIMEOUT_S < env("WORKER_TIMEOUT"):
        return ""
    return f"must rise in this order, the statement's below {RESPONSE_TIMEOUT_S:g} s and the worker's above"


@rule("LEDGER_GATE", "REDIS_URL")
def gate_has_redis(env: Environment) -> str:
    return "" if env("LEDGER_GATE") == "off" or env("REDIS_URL") else "must be given together: the gate is in Redis"


@rule(*LIMITS_PER_MINUTE, "REDIS_URL")
def throttles_have_redis(env: Environment) -> str:
    """A limit that is given needs Redis; the defaults hold only where there is one."""
    given = any(env.sources[name] != "default" and env(name) for name in LIMITS_PER_MINUTE)
    return "must be given together: requests are counted in Redis" if given and not env("REDIS_URL") else ""


@rule(
    "DATABASE_MAX_CONNECTIONS", "DATABASE_RESERVED_CONNECTIONS", "WEB_REPLICAS", "WEB_CONCURRENCY", "GUNICORN_THREADS"
)
def connections_fit(env: Environment) -> str:
    used = env("WEB_REPLICAS") * env("WEB_CONCURRENCY") * (env("GUNICORN_THREADS") + PROBE_CONNECTIONS)
    most = env("DATABASE_MAX_CONNECTIONS")
    if not most or used + env("DATABASE_RESERVED_CONNECTIONS") <= most:
        return ""
    return f"do not fit: replicas x workers x (threads + {PROBE_CONNECTIONS} for the probes) + reserved are more"


@rule("DATABASE_URL", "DATABASE_SSLMODE")
def application_is_encrypted(env: Environment) -> str:
    return _weaker_sslmode(env("DATABASE_URL"), env.weakest_sslmode)


@rule("MIGRATION_DATABASE_URL", "DATABASE_SSLMODE")
def migrations_are_encrypted(env: Environment) -> str:
    return _weaker_sslmode(env("MIGRATION_DATABASE_URL"), env.weakest_sslmode)


def _weaker_sslmode(url: str, weakest: str) -> str:
    """Check the sslmode that a URL names; where it names none, the settings do."""
    found = libpq.parameters(url) if url else {}
    if "sslmode" not in found or not libpq.route(found).over_network:
        return ""
    too_weak = SSLMODES.index(found["sslmode"]) < SSLMODES.index(weakest)
    return "disagree: the URL asks for a weaker sslmode" if too_weak else ""


def deployment_warnings(env: Environment) -> list[str]:
    """Return what a deployment has probably forgotten, for the log of a server that starts."""
    if not env.deployed:
        return []
    found = []
    if not env("NUM_PROXIES"):
        found.append("NUM_PROXIES is 0: no header is trusted for HTTPS, so the API answers 403 https_required")
    if not env("REDIS_URL") and any(map(env, LIMITS_PER_MINUTE)):
        found.append("REDIS_URL is not given: requests are not counted, so their rate is not limited")
    return found


# --- Loading ---------------------------------------------------------------------------------------------------------


def read(
    given: Mapping[str, str], fetch: Callable[[str, str], Mapping[str, str]] = secrets_manager.get_cached
) -> Environment:
    """Return the configuration that these variables give, or raise `ConfigurationError` with all problems."""
    module = given.get("DJANGO_SETTINGS_MODULE", "")
    name = module.rpartition(".")[2]
    name = name if name in ENVIRONMENTS else "production"
    problems = {}
    secret: Mapping[str, str] = {}
    if given.get("APP_SECRETS_ID") and name not in ENVIRONMENTS_WITHOUT_SECRET:
        try:
            secret = fetch(given["APP_SECRETS_ID"], given.get("AWS_REGION", ""))
        except secrets_manager.SecretError as error:
            problems["APP_SECRETS_ID"] = str(error)

    texts, sources = {}, {}
    for key, declared in KEYS.items():
        from_secret = "" if declared.environment_only else secret.get(key)
        text = given.get(key) or from_secret or ""
        sources[key] = "environment" if given.get(key) else "secret" if from_secret else "default"
        try:
            if text:
                value = declared.type.parse(text)
                texts[key] = text
                if name in DEPLOYED and declared.unsafe and (reason := declared.unsafe(value)):
                    problems[key] = reason
            elif name in declared.required_in:
                problems[key] = f"is missing: it must be {declared.type.words}"
        except ValueError as error:
            problems[key] = str(error)

    env = Environment(name, texts, sources)
    found = [f"{key} {words}" for key, words in problems.items()]
    found += [
        f"{', '.join(keys)} {words}"
        for keys, check in RULES
        if problems.keys().isdisjoint(keys) and (words := check(env))
    ]
    if found:
        found += [f"{key} is in the secret and no key that is read from it" for key in unknown_secret_names(secret)]
        raise ConfigurationError(module, found)
    return env


def unknown_secret_names(secret: Mapping[str, str]) -> list[str]:
    """Return the names in a secret that are not read: most often one is misspelt."""
    return sorted(name for name in secret if name not in KEYS or KEYS[name].environment_only)


def load() -> Environment:
    """Return this process's configuration, or raise `ConfigurationError`."""
    return read(os.environ)


def load_for_server() -> Environment:
    """As `load()`, for a server that starts or reloads: with a fresh secret, or with the old one if the new is invalid."""
    before = secrets_manager.cached_or_none()
    if before is None:
        return load()
    try:
        _refresh_secret(pause_s=secrets_manager.RELOAD_PAUSE_S)
        return load()
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\nThe server goes on with the secret it has.\n")
        secrets_manager.set_cached(before)
        return load()


def reread_from_secret(key: str) -> str:
    """Return a key's present text in the secret; an empty one if it did not come from there or is invalid now."""
    if load().sources[key] != "secret":
        return ""
    fresh = _refresh_secret()
    try:
        return KEYS[key].type.parse(fresh.get(key, "")) and fresh[key]
    except ValueError as error:
        logger.warning("The secret was read again, and its %s %s.", key, error)
        return ""


def _refresh_secret(**pause: float) -> Mapping[str, str]:
    return secrets_manager.refresh(os.environ["APP_SECRETS_ID"], os.environ.get("AWS_REGION", ""), **pause)


def set_environment_variable(name: str, value: str | None) -> None:
    """Set or, with None, delete a variable that a library reads, in this process and those that it starts."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
