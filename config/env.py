"""Every key of the configuration, declared once: `python -m config.reference` writes docs/configuration.md from here.

A value comes from the environment, else from the secret that APP_SECRETS_ID names, else it is the default; an empty value
is none. `load()` ends the process with one error that names every missing, malformed and unsafe key, and no value. To add a
key, add a line to `Environment`; to hold several keys to each other, add a `@rule`.
"""

import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

from apps.database import libpq
from apps.database.timeouts import RESPONSE_TIMEOUT_S
from config import secrets_manager as secrets
from config.keys import (
    FLAG,
    HOSTS,
    NAMES,
    ORIGINS,
    PATH,
    POSTGRES_URL,
    REDIS,
    SECONDS,
    SENTRY,
    SHARE,
    SSLMODES,
    TEXT,
    Key,
    one_of,
    whole,
)

DEPLOYED: Final = ("staging", "production")
LIMITS_PER_MINUTE: Final = ("THROTTLE_USER_PER_MINUTE", "THROTTLE_ANONYMOUS_PER_MINUTE")
# `base` builds the image and writes documents: nothing is required there.
ENVIRONMENTS: Final = ("base", "local", "test", "staging", "production")
# The suite is the same for everybody, and an image is built for everybody.
WITHOUT_SECRET: Final = frozenset({"base", "test"})

LOCAL_SECRET_KEY: Final = "local-only-and-published-secret-key-for-everybody-to-read"  # noqa: S105  it says so
PUBLISHED_SECRET_KEYS: Final = frozenset({LOCAL_SECRET_KEY})

# What a worker opens besides its threads' connections: the one on which the probes ask (apps.core.middleware.probes).
PROBE_CONNECTIONS: Final = 1


def weak_key(key: str) -> str:
    """Say why a key signs nothing safely, by Django's own measure and by whether everybody knows it."""
    if key in PUBLISHED_SECRET_KEYS:
        return "is published in this repository"
    if len(key) < 50 or len(set(key)) < 5 or key.startswith("django-insecure-"):  # noqa: PLR2004  security.W009
        return "is weak: at least 50 random characters are needed"
    return ""


def weak_keys(keys: list[str]) -> str:
    return next(filter(None, map(weak_key, keys)), "")


def every_host(hosts: list[str]) -> str:
    return "must name its hosts: * lets anybody choose one" if "*" in hosts else ""


def any_page(origins: list[str]) -> str:
    """Say why pages could read answers that nobody meant for them."""
    if "*" in origins:
        return "must name its origins: * lets every page read the answers"
    plain = any(origin.startswith("http:") for origin in origins)
    return "must be https: what is sent over plain HTTP anybody between can change" if plain else ""


def open_to_all(url: str) -> str:
    """Say that whoever reaches the database may use it."""
    route = libpq.route(libpq.parameters(url))
    return "" if route.has_proof or not route.over_network else "names no password, and none is found elsewhere"


def debugging(on: bool) -> str:  # noqa: FBT001  the value of a key
    return "must be off: its pages show the settings and the code" if on else ""


logger = logging.getLogger(__name__)


class Environment:
    """The values of every key in one environment, and where each came from."""

    DJANGO_SETTINGS_MODULE = Key(
        kind=TEXT,
        default="",
        required=ENVIRONMENTS,
        about="The settings module; its last part is the environment. An unknown one is held to production's demands.",
        outside_only=True,
    )

    APP_SECRETS_ID = Key(
        kind=TEXT,
        default="",
        about="The name or ARN of the secret in AWS Secrets Manager: a JSON object of strings, named like these keys.",
        outside_only=True,
    )
    AWS_REGION = Key(
        kind=TEXT, default="", about="The region of the secret, unless APP_SECRETS_ID is an ARN.", outside_only=True
    )

    DEBUG = Key(kind=FLAG, default=False, elsewhere={"local": True}, unsafe=debugging, about="Django's debug pages.")
    SECRET_KEY = Key(
        kind=TEXT,
        default="",
        elsewhere={"local": LOCAL_SECRET_KEY},
        required=DEPLOYED,
        unsafe=weak_key,
        about="Signs sessions and cursors.",
    )
    SECRET_KEY_FALLBACKS = Key(
        kind=NAMES,
        default=[],
        unsafe=weak_keys,
        about="Earlier keys that are still accepted: on a rotation, put the old one here for a session's life.",
    )
    ALLOWED_HOSTS = Key(
        kind=HOSTS,
        default=[],
        elsewhere={"local": ["localhost", "127.0.0.1", "[::1]"]},
        required=DEPLOYED,
        unsafe=every_host,
        about="The host names that are served.",
    )

    DATABASE_URL = Key(
        kind=POSTGRES_URL,
        default="",
        required=DEPLOYED,
        unsafe=open_to_all,
        about="The database, the parts of the URL percent-encoded, its parameters libpq's (docs/database.md); time limits "
        "are the keys below, not options. Locally, without one, the one that `make` starts.",
    )
    MIGRATION_DATABASE_URL = Key(
        kind=POSTGRES_URL,
        default="",
        unsafe=open_to_all,
        about="The same database as the role that owns its tables, for `manage.py migrate` alone, which grants what is "
        "needed to the role in DATABASE_URL (docs/database.md). Without one, DATABASE_URL serves both.",
        # What serves has no business with it.
        outside_only=True,
    )
    DATABASE_SSLMODE = Key(
        kind=one_of(*SSLMODES),
        default="disable",
        elsewhere=dict.fromkeys(DEPLOYED, "verify-full"),
        about="The least that a connection over a network asks for: what it asks where the URL names no sslmode, and the "
        "weakest that it may name. verify-full needs sslrootcert in the URL unless libpq's default file is there.",
    )
    TEST_DATABASE_URL = Key(
        kind=POSTGRES_URL, default="", about="The tests' database app_test; without one, the one that `make` starts."
    )
    DATABASE_MAX_CONNECTIONS = Key(
        kind=whole(0, 100_000),
        default=0,
        about="The database's max_connections; 0 checks nothing. DATABASE_RESERVED_CONNECTIONS + WEB_REPLICAS x "
        f"WEB_CONCURRENCY x (GUNICORN_THREADS + {PROBE_CONNECTIONS} for the probes) must fit.",
    )
    DATABASE_RESERVED_CONNECTIONS = Key(
        kind=whole(0, 100_000),
        default=10,
        about="Those of the database's connections that are kept for migrations, monitoring and people.",
    )
    LOCK_TIMEOUT = Key(kind=SECONDS, default=2.0, about="How long a statement waits for a lock.")
    STATEMENT_TIMEOUT = Key(
        kind=SECONDS,
        default=5.0,
        about=f"How long a statement runs; above LOCK_TIMEOUT, below {RESPONSE_TIMEOUT_S:g}, when the client gives up.",
    )

    REVISION = Key(
        kind=TEXT,
        default="unknown",
        about="The commit that is served, told by /livez/; the image knows its own.",
        outside_only=True,
    )
    PORT = Key(kind=whole(1, 65_535), default=8000, about="Where gunicorn listens.", outside_only=True)
    METRICS_PORT = Key(
        kind=whole(1, 65_535),
        default=9464,
        about="Where gunicorn's arbiter serves metrics, at /metrics and nothing else; for Prometheus only, not the public.",
        outside_only=True,
    )
    PROMETHEUS_MULTIPROC_DIR = Key(
        kind=TEXT,
        default="",
        about="The directory of the workers' counts, in memory and this server's alone: it is emptied at the start. "
        "Without one a new one is made in /dev/shm.",
        outside_only=True,
    )
    WEB_CONCURRENCY = Key(kind=whole(1, 256), default=2, about="gunicorn's worker processes.")
    WEB_REPLICAS = Key(
        kind=whole(1, 10_000),
        default=1,
        about="How many servers like this one run at once, those that a deployment starts before it stops the old included.",
    )
    GUNICORN_THREADS = Key(kind=whole(1, 256), default=4, about="Threads of each worker.")
    WORKER_TIMEOUT = Key(
        kind=whole(1, 3600),
        default=30,
        about="After so many seconds of silence a worker is replaced; the outermost of the limits.",
    )
    DRAIN_SECONDS = Key(
        kind=whole(0, 600),
        default=5,
        elsewhere={"local": 0, "test": 0},
        about="After a SIGTERM it still serves for so long, while /readyz/ answers 503: as long as a load balancer takes "
        "to notice. Then requests in flight have 30 s. The platform's grace must be longer than both: 45 s in deploy/ecs.",
    )

    NUM_PROXIES = Key(
        kind=whole(0, 10),
        default=0,
        about="How many proxies of ours append to X-Forwarded-For and, ending TLS, set X-Forwarded-Proto; 0 believes the "
        "socket's address and scheme and nothing else, so that a deployment serves probes only. An entry may have a port, "
        "brackets, quotes or a zone; all that are no address count as one.",
    )
    THROTTLE_USER_PER_MINUTE = Key(
        kind=whole(0, 1_000_000),
        default=0,
        elsewhere=dict.fromkeys(DEPLOYED, 600),
        about="How many requests one user may send to the API in a minute, counted in REDIS_URL by all servers; then 429. "
        "0 is no limit, and without REDIS_URL there is none.",
    )
    THROTTLE_ANONYMOUS_PER_MINUTE = Key(
        kind=whole(0, 1_000_000),
        default=0,
        elsewhere=dict.fromkeys(DEPLOYED, 60),
        about="The same for one address (of IPv6: one /64) whose requests have no token, or none that is good; NUM_PROXIES "
        "says which address is believed.",
    )
    SECURE_HSTS_PRELOAD = Key(
        kind=FLAG,
        default=False,
        about="Ask browsers to preload HSTS: a promise about the whole domain that is hard to take back.",
    )

    CORS_ALLOWED_ORIGINS = Key(
        kind=ORIGINS,
        default=[],
        unsafe=any_page,
        about="The origins of browser applications that may call /api/ (CORS): with a token, without cookies, the answer's "
        "own headers exposed. Without one, pages of other origins cannot. Locally * lets every page.",
    )

    ADMIN_PATH = Key(
        kind=PATH,
        default="",
        elsewhere={"local": "admin/"},
        about="Where the admin is; without a path it is nowhere.",
    )
    DOCS_OPEN = Key(
        kind=FLAG,
        default=False,
        elsewhere={"local": True},
        about="Whether /schema/ and /schema/swagger-ui/ are there.",
    )

    LOG_FORMAT = Key(
        kind=one_of("json", "text"),
        default="json",
        elsewhere={"local": "text", "test": "text"},
        about="How a line of the log reads.",
        outside_only=True,
    )
    SENTRY_DSN = Key(
        kind=SENTRY,
        default="",
        about="Where unforeseen errors, and a sample of the requests, go; without one, nowhere.",
    )
    SENTRY_TRACES_SAMPLE_RATE = Key(
        kind=SHARE, default=0.0, about="The share of requests whose time Sentry is told; probes never."
    )

    SIGN_UP_OPEN = Key(kind=FLAG, default=False, elsewhere={"local": True}, about="Whether everybody may make a user.")

    SILK = Key(
        kind=FLAG,
        default=False,
        about="Locally: whether django-silk records each request's queries and shows them under /silk/.",
    )

    LEDGER_GATE = Key(
        kind=one_of("off", "redis"),
        default="off",
        about="Where waiters of a busy account queue before they take a database connection.",
    )
    REDIS_URL = Key(kind=REDIS, default="", about="The Redis that counts requests, and in which the gate stands.")
    LEDGER_GATE_LEASE = Key(
        kind=SECONDS, default=6.0, about="How long the gate holds an account: a statement's limit and one second."
    )
    LEDGER_GATE_WAIT = Key(kind=SECONDS, default=2.0, about="How long a command waits at the gate.")
    TEST_REDIS_URL = Key(kind=REDIS, default="", about="The tests' Redis; without one, they start their own.")

    def __init__(self, name: str, values: Mapping[str, Any], sources: Mapping[str, str]) -> None:
        """Take a value and a source ("environment", "secret" or "default") for every key."""
        self.name = name
        self.values = values
        self.sources = sources

    @property
    def served(self) -> bool:
        """Whether this process is gunicorn's, and not a command."""
        return "SERVER_SOFTWARE" in os.environ

    @property
    def deployed(self) -> bool:
        """Whether unknown_secret_names' money is at stake."""
        return self.name in DEPLOYED


KEYS: Final[Mapping[str, Key[Any]]] = {name: key for name, key in vars(Environment).items() if isinstance(key, Key)}


@dataclass(frozen=True)
class Rule:
    """What several keys must be together; `broken` says what is wrong, or nothing."""

    keys: tuple[str, ...]
    broken: Callable[[Environment], str]


RULES: Final[list[Rule]] = []


def rule(*keys: str) -> Callable[[Callable[[Environment], str]], Callable[[Environment], str]]:
    """Hold keys to each other, once each of them can be read."""

    def declare(broken: Callable[[Environment], str]) -> Callable[[Environment], str]:
        RULES.append(Rule(keys, broken))
        return broken

    return declare


@rule("LOCK_TIMEOUT", "STATEMENT_TIMEOUT", "WORKER_TIMEOUT")
def limits_in_order(env: Environment) -> str:
    if env.LOCK_TIMEOUT < env.STATEMENT_TIMEOUT < RESPONSE_TIMEOUT_S < env.WORKER_TIMEOUT:
        return ""
    return f"must rise in this order, the statement's below {RESPONSE_TIMEOUT_S:g} s and the worker's above"


@rule("LEDGER_GATE", "REDIS_URL")
def gate_has_its_redis(env: Environment) -> str:
    return "" if env.LEDGER_GATE == "off" or env.REDIS_URL else "must be given together: the gate stands in Redis"


@rule(*LIMITS_PER_MINUTE, "REDIS_URL")
def throttles_have_their_redis(env: Environment) -> str:
    """Whoever names a limit means it; the defaults hold where there is something to count in."""
    meant = [name for name in LIMITS_PER_MINUTE if env.sources[name] != "default" and env.values[name]]
    return "must be given together: requests are counted in Redis" if meant and not env.REDIS_URL else ""


@rule(
    "DATABASE_MAX_CONNECTIONS", "DATABASE_RESERVED_CONNECTIONS", "WEB_REPLICAS", "WEB_CONCURRENCY", "GUNICORN_THREADS"
)
def connections_fit(env: Environment) -> str:
    used = env.WEB_REPLICAS * env.WEB_CONCURRENCY * (env.GUNICORN_THREADS + PROBE_CONNECTIONS)
    if not env.DATABASE_MAX_CONNECTIONS or used + env.DATABASE_RESERVED_CONNECTIONS <= env.DATABASE_MAX_CONNECTIONS:
        return ""
    return f"do not fit: replicas x workers x (threads + {PROBE_CONNECTIONS} for the probes) + reserved are more"


@rule("DATABASE_URL", "DATABASE_SSLMODE")
def application_is_encrypted(env: Environment) -> str:
    return _too_weak(env.DATABASE_URL, env.DATABASE_SSLMODE)


@rule("MIGRATION_DATABASE_URL", "DATABASE_SSLMODE")
def migrations_are_encrypted(env: Environment) -> str:
    return _too_weak(env.MIGRATION_DATABASE_URL, env.DATABASE_SSLMODE)


def _too_weak(url: str, least: str) -> str:
    """Judge what the URL itself asks for; what it leaves open is asked for by us (config.settings.base)."""
    found = libpq.parameters(url) if url else {}
    if "sslmode" not in found or not libpq.route(found).over_network:
        return ""
    if SSLMODES.index(found["sslmode"]) >= SSLMODES.index(least):
        return ""
    return "disagree: the URL asks for a weaker sslmode"


def deployment_warnings(env: Environment) -> list[str]:
    """Return what a deployment may want and most often has forgotten: a server that starts says so in its log."""
    if not env.deployed:
        return []
    found = []
    if not env.NUM_PROXIES:
        found.append(
            "NUM_PROXIES is 0: nobody says that a request came over HTTPS, so the API answers 403 https_required"
        )
    if not env.REDIS_URL and any(env.values[name] for name in LIMITS_PER_MINUTE):
        found.append("REDIS_URL is not given: requests are not counted, so there is no limit of their rate")
    return found


class ConfigurationError(ImproperlyConfigured, SystemExit):
    """Why the process does not start.

    Django's error to whoever catches it. To Python, where nobody does, the end of the process with its text as the last
    words and 1 as the exit code: a traceback would hide the one thing that has to be read.
    """

    def __init__(self, settings_module: str, problems: list[str]) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        text = "\n".join(
            [
                f"error: {settings_module or 'the application'} cannot start: {count} with its configuration",
                *(f"  {problem}" for problem in sorted(problems)),
                "Every key is described in docs/configuration.md.",
            ]
        )
        super().__init__(text)
        self.code = text


def read(given: Mapping[str, str], fetch: Callable[[str, str], Mapping[str, str]] = secrets.held) -> Environment:
    """Return what an environment of variables configures, or raise `ConfigurationError` with all that is wrong."""
    module = given.get("DJANGO_SETTINGS_MODULE", "")
    name = module.rpartition(".")[2]
    name = name if name in ENVIRONMENTS else "production"
    problems = {}
    secret: Mapping[str, str] = {}
    if given.get("APP_SECRETS_ID") and name not in WITHOUT_SECRET:
        try:
            secret = fetch(given["APP_SECRETS_ID"], given.get("AWS_REGION", ""))
        except secrets.SecretError as error:
            problems["APP_SECRETS_ID"] = str(error)

    values, sources = {}, {}
    for key in KEYS.values():
        text, sources[key.name] = _find(key, given, secret)
        values[key.name] = key.default_in(name)
        if not text:
            if name in key.required:
                problems.setdefault(key.name, f"is missing: it must be {key.kind.words}")
            continue
        try:
            values[key.name] = key.parse(text)
        except ValueError as error:
            problems[key.name] = str(error)
        else:
            if name in DEPLOYED and key.unsafe and (reason := key.unsafe(values[key.name])):
                problems[key.name] = reason

    env = Environment(name, values, sources)
    told = [f"{key} {words}" for key, words in problems.items()]
    told += [
        f"{', '.join(rule.keys)} {words}"
        for rule in RULES
        if problems.keys().isdisjoint(rule.keys) and (words := rule.broken(env))
    ]
    if told:
        told += [f"{key} is in the secret and no key that is read from it" for key in unknown_secret_names(secret)]
        raise ConfigurationError(module, told)
    return env


def _find(key: Key[Any], given: Mapping[str, str], secret: Mapping[str, str]) -> tuple[str, str]:
    """Return a key's text and its source; no text where the default holds."""
    if given.get(key.name):
        return given[key.name], "environment"
    if secret.get(key.name) and not key.outside_only:
        return secret[key.name], "secret"
    return "", "default"


def unknown_secret_names(secret: Mapping[str, str]) -> list[str]:
    """Return the names in a secret that nothing reads: most often one is misspelt."""
    return sorted(name for name in secret if name not in KEYS or KEYS[name].outside_only)


def load() -> Environment:
    """Return this process's configuration, or end the process with what is wrong with it."""
    return read(os.environ)


def load_for_server() -> Environment:
    """As `load()`, for a server that starts or reloads: with the secret as it is now.

    A reload that the new secret would end keeps the old one, and says so: the old one still serves.
    """
    before = secrets.peek()
    try:
        if before is not None:
            secrets.read_again(
                os.environ["APP_SECRETS_ID"], os.environ.get("AWS_REGION", ""), pause_s=secrets.RELOAD_PAUSE_S
            )
        return load()
    except ConfigurationError as error:
        if before is None:
            # gunicorn catches every Exception of its configuration file, and shows where it came from.
            sys.exit(str(error))
        sys.stderr.write(f"{error}\nThe server goes on with the secret it has.\n")
        secrets.hold(before)
        return load()


def set_environment_variable(name: str, value: str | None) -> None:
    """Set a variable that a library reads by itself, in this process and those that it starts; None takes it away."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def reread_from_secret(key: str) -> str:
    """Return the value that a key has in the secret now; nothing, if it never came from there or is no good."""
    if load().sources[key] != "secret":
        return ""
    fresh = secrets.read_again(os.environ["APP_SECRETS_ID"], os.environ.get("AWS_REGION", ""))
    try:
        return KEYS[key].parse(fresh.get(key, "")) and fresh[key]
    except ValueError as error:
        logger.warning("The secret was read again, and its %s %s.", key, error)
        return ""
