"""Configuration keys: each alone, and the rules between them; test_boot.py starts whole processes."""

import ast
import itertools
import re

import pytest

from apps.core.middleware import probes as health
from config import env as environment
from config import keys
from config import secrets_manager as secrets
from config.env import KEYS, ConfigurationError, read
from tests.support.configuration import CANARY, FULL, STRONG_KEY, configure, problems
from tests.support.paths import ROOT

# The one that everyone can read.
(LOCAL_SECRET_KEY,) = re.findall(
    r'^SECRET_KEY = .*default="(.+)"', (ROOT / "config/settings/local.py").read_text(), re.MULTILINE
)


@pytest.mark.parametrize(("outside", "inside"), list(itertools.product([None, "", "3"], [None, "", "5"])))
def test_the_environment_wins_over_the_secret_and_the_secret_over_the_default(outside, inside):
    """Every combination of a key that is absent, empty or given in each; empty is absent."""
    given = {} if outside is None else {"GUNICORN_THREADS": outside}
    secret = {} if inside is None else {"GUNICORN_THREADS": inside}

    env = configure(secret=secret, **FULL | {"APP_SECRETS_ID": "app"} | given)

    expected = (3, "environment") if outside else (5, "secret") if inside else (4, "default")
    assert (env("GUNICORN_THREADS"), env.sources["GUNICORN_THREADS"]) == expected


def test_a_deployment_may_have_everything_in_its_secret():
    rest = {key: value for key, value in FULL.items() if key != "DJANGO_SETTINGS_MODULE"}

    env = configure("staging", secret=rest, APP_SECRETS_ID="app")

    assert (env("SECRET_KEY"), env("ALLOWED_HOSTS")) == (STRONG_KEY, ["app.example.org"])
    assert {key for key, source in env.sources.items() if source == "secret"} == rest.keys()


@pytest.mark.parametrize("settings", ["base", "test"])
def test_an_image_and_the_suite_ask_nobody(settings):
    assert configure(settings, APP_SECRETS_ID="app").sources["SECRET_KEY"] == "default"


def test_nobody_is_asked_where_no_secret_is_named():
    assert configure(**FULL).sources["SECRET_KEY"] == "environment"


@pytest.mark.parametrize(("settings", "drain", "log_format"), [("production", 5, "json"), ("local", 0, "text")])
def test_a_default_may_be_another_where_it_is_not_deployed(settings, drain, log_format):
    env = configure(settings, **FULL | {"DJANGO_SETTINGS_MODULE": f"config.settings.{settings}"})

    assert (env("DRAIN_SECONDS"), env("LOG_FORMAT")) == (drain, log_format)


def test_each_app_brings_its_own_keys_and_none_is_declared_twice():
    declared = [key for module in environment.DECLARATIONS for key in module.KEYS]

    assert {module.__name__ for module in environment.DECLARATIONS} == {
        "config.keys",
        *(f"apps.{path.parent.name}.environment" for path in (ROOT / "apps").glob("*/environment.py")),
    }
    assert sorted(declared) == sorted(KEYS)
    assert sum(len(getattr(module, "RULES", {})) for module in environment.DECLARATIONS) == len(environment.RULES)


def test_what_finds_the_secret_is_not_read_from_it():
    env = configure(secret={"PORT": "9000", "AWS_REGION": "eu-west-1"}, **FULL | {"APP_SECRETS_ID": "app"})

    assert (env("PORT"), env("AWS_REGION")) == (8000, "")


class TestOneError:
    def test_names_everything_that_is_missing(self):
        assert [line.split()[0] for line in problems()] == ["ALLOWED_HOSTS", "DATABASE_URL", "SECRET_KEY"]

    def test_names_missing_malformed_unsafe_and_unfitting_keys_together(self):
        told = problems(
            DEBUG="yes",
            PORT=CANARY,
            SECRET_KEY=CANARY,
            WEB_CONCURRENCY="4",
            DATABASE_MAX_CONNECTIONS="19",
        )

        assert [line.split(" ")[0].rstrip(",") for line in told] == [
            "ALLOWED_HOSTS",
            "DATABASE_MAX_CONNECTIONS",
            "DATABASE_URL",
            "DEBUG",
            "PORT",
            "SECRET_KEY",
        ]

    def test_names_the_secret_that_cannot_be_read_next_to_what_is_missing_without_it(self):
        def fetch(secret_id, region):
            raise secrets.SecretError("names no secret")

        given = {"DJANGO_SETTINGS_MODULE": "config.settings.staging", "APP_SECRETS_ID": CANARY, "PORT": CANARY}
        with pytest.raises(ConfigurationError) as refusal:
            read(given, fetch)

        names = re.findall(r"^  (\w+)", str(refusal.value), re.MULTILINE)
        assert names == ["ALLOWED_HOSTS", "APP_SECRETS_ID", "DATABASE_URL", "PORT", "SECRET_KEY"]
        assert CANARY not in str(refusal.value)

    def test_shows_the_misspelt_name_in_the_secret(self):
        told = problems(secret={"SECRT_KEY": CANARY, "PORT": CANARY}, APP_SECRETS_ID="app")

        assert "SECRT_KEY is in the secret and no key that is read from it" in told
        assert "PORT is in the secret and no key that is read from it" in told

    def test_holds_unknown_settings_to_productions_demands(self):
        assert len(problems("demo")) == 3
        with pytest.raises(ConfigurationError, match="DJANGO_SETTINGS_MODULE is missing"):
            read({})


@pytest.mark.parametrize(
    ("key", "malformed"),
    [
        ("DEBUG", ["ture", "2", "None", "true "]),
        ("PORT", ["0", "65536", "80.0", "-1", "8_000", "+80", "٨٠", "80\n", "1" * 5000]),
        ("WEB_CONCURRENCY", ["0", "two", "257"]),
        ("LOCK_TIMEOUT", ["0", "-1", "nan", "inf", "1e3", "2s", "9" * 400]),
        (
            "ALLOWED_HOSTS",
            ["https://a.example", "a.example:443", "a.example/", "*.example", "a b", "a,,b", "a,", "münchen"],
        ),
        ("SECRET_KEY_FALLBACKS", [",", "a,,b"]),
        (
            "CORS_ALLOWED_ORIGINS",
            [
                "app.example.org",
                "https://",
                "https://app.example.org/",
                "https://app.example.org/app",
                "https://*.example.org",
                "https://app.example.org:443",
                "http://app.example.org:80",
                "https://App.example.org",
                "HTTPS://app.example.org",
                "https://app.example.org:",
                "https://app.example.org:65536",
                "https://app.example.org:0443",
                "null",
                "https://u:p@app.example.org",
                "https://app.example.org?x",
                "https://app.example.org#x",
                "https://app.example.org.",
                "https://b\xfccher.example",
                "ftp://app.example.org",
                "//app.example.org",
                "https://a.example;https://b.example",
                "https://a.example,",
                "https://a.example,https://*",
                "**",
                "https://a.example https://b.example",
            ],
        ),
        ("LOG_FORMAT", ["xml", "JSON"]),
        ("REDIS_URL", ["redis.example.org", f"redis://:{CANARY}@h:port"]),
        ("SECRET_KEY", [f" {STRONG_KEY}", f"{STRONG_KEY}\n"]),
        (
            "DATABASE_URL",
            [
                f"mysql://{CANARY}@h/d",
                f"{CANARY}",
                "postgres://",
                "postgres://h/",
                f"postgres://u:{CANARY}@h:port/d",
                f"postgres://u:p/{CANARY}@h/d",
                f"postgres://u:{CANARY}@[::1/d",
                "postgres://u:p@h/d?options=-c%20statement_timeout%3D0",
                "sqlite:///d",
            ],
        ),
    ],
)
@pytest.mark.filterwarnings("error")
def test_malformed_values_are_refused_and_not_shown(key, malformed):
    for value in malformed:
        with pytest.raises(ConfigurationError) as refusal:
            configure("local", **{key: value})
        assert re.search(rf"^  {key} must be ", str(refusal.value), re.MULTILINE), value
        assert CANARY not in str(refusal.value)


@pytest.mark.parametrize("settings", ["staging", "production"])
@pytest.mark.parametrize(
    ("key", "unsafe"),
    [
        ("DEBUG", ["true", "1", "on"]),
        ("ALLOWED_HOSTS", ["*", "app.example.org,*"]),
        (
            "CORS_ALLOWED_ORIGINS",
            ["*", "https://app.example.org,*", "http://app.example.org", "https://a.example,http://localhost:3000"],
        ),
        ("SECRET_KEY", [LOCAL_SECRET_KEY, "short", "x" * 60, "django-insecure-" + STRONG_KEY]),
        ("SECRET_KEY_FALLBACKS", ["short", f"{STRONG_KEY},{LOCAL_SECRET_KEY}"]),
        ("DATABASE_URL", ["postgres://app@db.example.org/app"]),
        ("MIGRATION_DATABASE_URL", ["postgres://owner@db.example.org/app"]),
        ("REPLICA_DATABASE_URL", ["postgres://app@replica.example.org/app"]),
    ],
)
def test_unsafe_values_are_refused_where_it_is_deployed_and_not_on_a_laptop(settings, key, unsafe):
    for value in unsafe:
        (told,) = problems(settings, **FULL | {"DJANGO_SETTINGS_MODULE": f"config.settings.{settings}", key: value})
        assert told.startswith(f"{key} ")
        assert value not in told.removeprefix(key) or value in {"*", "on", "1"}
        configure("local", **{key: value})


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        ({}, True),
        ({"LOCK_TIMEOUT": "0.5", "STATEMENT_TIMEOUT": "1.5", "WORKER_TIMEOUT": "7"}, True),
        ({"LOCK_TIMEOUT": "5"}, False),
        ({"STATEMENT_TIMEOUT": "6"}, False),
        ({"STATEMENT_TIMEOUT": "2"}, False),
        ({"WORKER_TIMEOUT": "6"}, False),
        ({"THROTTLE_USER_PER_MINUTE": "600"}, False),
        ({"THROTTLE_ANONYMOUS_PER_MINUTE": "1"}, False),
        ({"THROTTLE_USER_PER_MINUTE": "0", "THROTTLE_ANONYMOUS_PER_MINUTE": "0"}, True),
        ({"THROTTLE_USER_PER_MINUTE": "600", "REDIS_URL": "rediss://redis.example.org"}, True),
        ({"DATABASE_MAX_CONNECTIONS": "20"}, True),
        ({"DATABASE_MAX_CONNECTIONS": "19"}, False),
        ({"DATABASE_MAX_CONNECTIONS": "10", "DATABASE_RESERVED_CONNECTIONS": "0"}, True),
        ({"DATABASE_MAX_CONNECTIONS": "37", "WEB_CONCURRENCY": "3", "GUNICORN_THREADS": "8"}, True),
        ({"DATABASE_MAX_CONNECTIONS": "36", "WEB_CONCURRENCY": "3", "GUNICORN_THREADS": "8"}, False),
        ({"DATABASE_MAX_CONNECTIONS": "100", "WEB_REPLICAS": "9"}, True),
        ({"DATABASE_MAX_CONNECTIONS": "100", "WEB_REPLICAS": "10"}, False),
        ({"DATABASE_URL": "postgres://u:p@db/d"}, True),
        ({"DATABASE_URL": "postgres://u:p@db/d?sslmode=require"}, False),
        ({"DATABASE_URL": "postgres://u:p@db/d?sslmode=require", "DATABASE_SSLMODE": "require"}, True),
        ({"DATABASE_URL": "postgres://u:p@db/d?sslmode=verify-ca", "DATABASE_SSLMODE": "require"}, True),
        ({"DATABASE_URL": "postgres://u:p@db/d?sslmode=whatever", "DATABASE_SSLMODE": "disable"}, False),
        ({"DATABASE_URL": "postgres://u:p@127.0.0.1/d?sslmode=disable"}, True),
        ({"DATABASE_URL": "postgres://u@/%2Frun%2Fpostgresql/d"}, True),
        ({"DATABASE_URL": "postgres://u@db/d?sslcert=/run/client.pem"}, True),
        ({"MIGRATION_DATABASE_URL": "postgres://u:p@db/d?sslmode=prefer"}, False),
        ({"REPLICA_DATABASE_URL": "postgres://u:p@replica/d?sslmode=require"}, False),
        ({"REPLICA_DATABASE_URL": "postgres://u:p@replica/d"}, True),
    ],
)
def test_limits_rise_and_what_belongs_together_fits(given, fits):
    if fits:
        configure(**FULL | given)
    else:
        (told,) = problems(**FULL | given)
        assert any(key in told for key in given)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, ["NUM_PROXIES", "REDIS_URL"]),
        ({"NUM_PROXIES": "1", "REDIS_URL": "rediss://redis.example.org"}, []),
        ({"NUM_PROXIES": "1", "THROTTLE_USER_PER_MINUTE": "0"}, ["REDIS_URL"]),
        ({"NUM_PROXIES": "1", "THROTTLE_USER_PER_MINUTE": "0", "THROTTLE_ANONYMOUS_PER_MINUTE": "0"}, []),
    ],
)
def test_what_a_deployment_has_probably_forgotten_is_said(given, named):
    assert [warning.split()[0] for warning in environment.deployment_warnings(configure(**FULL | given))] == named
    assert environment.deployment_warnings(configure("local", **given)) == []


def test_origins_are_taken_as_browsers_send_them():
    origins = "https://app.example.org, https://admin.example.org:8443,https://[2001:db8::1]:8443,https://xn--bcher-kva.example"

    assert configure(**FULL | {"CORS_ALLOWED_ORIGINS": origins})("CORS_ALLOWED_ORIGINS") == [
        "https://app.example.org",
        "https://admin.example.org:8443",
        "https://[2001:db8::1]:8443",
        "https://xn--bcher-kva.example",
    ]
    assert configure(**FULL)("CORS_ALLOWED_ORIGINS") == []
    assert configure("local", CORS_ALLOWED_ORIGINS="http://localhost:5173")("CORS_ALLOWED_ORIGINS") == [
        "http://localhost:5173"
    ]


def test_what_other_modules_decide_is_what_the_rules_count_with():
    probes = [value for value in vars(health).values() if isinstance(value, health.DatabaseProbe)]

    assert len(probes) == keys.PROBE_CONNECTIONS


def test_the_examples_name_only_keys_that_there_are():
    by_make = {"DB_PORT", "TEST_DB_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT"}
    examples = re.findall(r"^# ([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)

    assert examples
    assert set(examples) <= KEYS.keys() | by_make


def test_nothing_else_in_the_house_reads_the_environment():
    """Ruff bans it too, but a comment disables that."""
    for path in [*(ROOT / "apps").rglob("*.py"), *(ROOT / "config").rglob("*.py")]:
        if path == ROOT / "config" / "env.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
                assert node.attr not in {"environ", "environb", "getenv"}, path
