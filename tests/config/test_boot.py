"""Start of whole processes with a broken configuration: error, exit code, time."""

import re

import pytest

from tests.support import aws
from tests.support.configuration import CANARY, FULL
from tests.support.processes import run

pytestmark = pytest.mark.slow

MANAGE = ("manage.py", "check")
IMPORT = ("-c", "import django; django.setup()")
GUNICORN = ("-m", "gunicorn", "--bind", "127.0.0.1:0", "config.wsgi:application")
CONFIGURED = ("-m", "gunicorn", "--config", "server/gunicorn_conf.py", *GUNICORN[2:])
SERVE = ("-m", "server.__main__", *CONFIGURED[2:])

BROKEN = {
    "DEBUG": "true",
    "SECRET_KEY": CANARY,
    "DATABASE_URL": f"mysql://app:{CANARY}@db.example.org/app",
    "WEB_CONCURRENCY": CANARY,
    "LOCK_TIMEOUT": "5",
}
COMPLAINTS = """\
error: config.settings.{settings} cannot start: 6 problems with its configuration
  ALLOWED_HOSTS is missing: it must be host names separated by commas, without scheme or port (.example.org: with its \
subdomains)
  DATABASE_URL must be a URL postgres://user:password@host:port/database, its parts percent-encoded, its parameters libpq's
  DEBUG must be off: its pages show the settings and the code
  LOCK_TIMEOUT, STATEMENT_TIMEOUT, WORKER_TIMEOUT must rise in this order, the statement's below 6 s and the worker's above
  SECRET_KEY is weak: at least 50 random characters are needed
  WEB_CONCURRENCY must be a whole number from 1 to 256
Every key is described in docs/configuration.md.
"""


@pytest.mark.parametrize("settings", ["staging", "production"])
class TestDeployed:
    def test_passes_djangos_deployment_check(self, settings):
        result = run(
            "manage.py",
            "check",
            "--deploy",
            "--fail-level",
            "WARNING",
            **FULL | {"DJANGO_SETTINGS_MODULE": f"config.settings.{settings}"},
        )

        assert result.returncode == 0, result.stderr

    def test_closes_sign_up_debug_example_data_docs_and_admin(self, settings):
        names = "s.DEBUG, s.SIGN_UP_OPEN, s.POPULATE_ALLOWED, s.DOCS_OPEN, bool(s.ADMIN_PATH)"
        code = f"import config.settings.{settings} as s; print({names})"
        assert run("-c", code, **FULL).stdout.split() == ["False"] * 5


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        (MANAGE, "production"),
        (("manage.py", "migrate"), "production"),
        (("manage.py", "show_config"), "production"),
        (SERVE, "production"),
        (SERVE, "staging"),
    ],
    ids=["check", "migrate", "show_config", "serve", "serve-staging"],
)
def test_a_broken_configuration_is_one_error_and_nothing_else(command, settings):
    result = run(*command, settings=settings, **BROKEN)

    assert (result.returncode, result.stderr, result.stdout) == (1, COMPLAINTS.format(settings=settings), "")


def test_a_broken_configuration_is_djangos_error_to_a_program_of_its_own():
    result = run(*IMPORT, **BROKEN)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.endswith(f"ConfigurationError: {COMPLAINTS.format(settings='production')}")
    assert CANARY not in result.stderr


@pytest.mark.parametrize(("command", "code"), [(CONFIGURED, 1), (GUNICORN, 3)], ids=["configured", "bare"])
def test_gunicorn_by_itself_stops_too(command, code):
    """Except for WEB_CONCURRENCY, which gunicorn reads by itself: server.__main__ comes before that."""
    given = BROKEN | {"WEB_CONCURRENCY": "1"}
    result = run(*command, **given)

    said = [line for line in COMPLAINTS.splitlines() if not line.startswith(("error:", "  WEB_CONCURRENCY"))]
    assert result.returncode == code
    assert [line for line in result.stderr.splitlines() if line in said] == said
    assert "Traceback" not in result.stderr
    assert CANARY not in result.stderr


def test_the_application_has_loaded_its_views_before_a_request_comes():
    code = (
        "import sys, config.wsgi; print('apps.users.views' in sys.modules, 'apps.core.money.currencies' in sys.modules)"
    )
    result = run("-c", code, **FULL)

    assert result.stdout.split() == ["True", "True"], result.stderr


def test_a_laptop_is_told_as_well():
    result = run(*MANAGE, settings="local", DEBUG="ture")

    assert result.returncode == 1
    assert result.stderr.splitlines()[1:-1] == ["  DEBUG must be true or false"]


class TestTheSecret:
    def test_is_enough_to_start_with_and_shown_by_its_keys_only(self, moto):
        secret = {key: value for key, value in FULL.items() if key != "DJANGO_SETTINGS_MODULE"} | {"SECRT": CANARY}
        moto.put("app/boot", secret)
        given = aws.environment(moto.url) | {"APP_SECRETS_ID": "app/boot", "GUNICORN_THREADS": "8"}

        result = run("manage.py", "show_config", settings="staging", **given)

        assert result.returncode == 0, result.stderr
        shown = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()}
        assert shown["SECRET_KEY"] == ["secret", "yes"]
        assert shown["DATABASE_URL"] == ["secret", "yes"]
        assert shown["GUNICORN_THREADS"] == ["environment", "no"]
        assert shown["PORT"] == ["default", "no"]
        assert result.stderr == "SECRT is in the secret and no key that is read from it\n"
        for value in [*secret.values(), "app/boot", aws.CREDENTIALS["AWS_SECRET_ACCESS_KEY"]]:
            assert value not in result.stdout + result.stderr

    def test_that_is_not_there_is_named_next_to_what_is_missing_without_it(self, moto):
        result = run(*CONFIGURED, **aws.environment(moto.url), APP_SECRETS_ID="cnry/missing")

        assert result.returncode == 1
        assert re.findall(r"^  (\w+)", result.stderr, re.MULTILINE) == [
            "ALLOWED_HOSTS",
            "APP_SECRETS_ID",
            "DATABASE_URL",
            "SECRET_KEY",
        ]
        assert "Traceback" not in result.stderr
        assert CANARY not in result.stderr

    @pytest.mark.parametrize("command", [MANAGE, CONFIGURED], ids=["check", "gunicorn"])
    def test_that_never_comes_ends_the_process_after_three_tries(self, command):
        """Three tries, although Django's command line imports its settings twice."""
        with aws.Silent() as silent:
            result = run(*command, **aws.environment(silent.url), APP_SECRETS_ID="app")

        assert result.returncode == 1
        assert "APP_SECRETS_ID could not be read: Secrets Manager gave no answer" in result.stderr
        assert "Traceback" not in result.stderr
        assert silent.connections == 3

    def test_costs_no_import_where_none_is_named(self):
        code = "import django, sys; django.setup(); print(sorted(sys.modules.keys() & {'boto3', 'botocore'}))"
        assert run("-c", code, **FULL).stdout.strip() == "[]"


class TestRotatedKeys:
    SIGN = "import django; django.setup(); from django.core import signing; print(signing.dumps('ada'))"
    READ = "import django, sys; django.setup(); from django.core import signing; print(signing.loads(sys.argv[1]))"

    def test_what_the_old_key_signed_is_accepted_while_it_is_a_fallback(self):
        old, new = FULL["SECRET_KEY"], FULL["SECRET_KEY"][::-1]
        signed = run("-c", self.SIGN, **FULL).stdout.strip()

        with_fallback = run("-c", self.READ, signed, **FULL | {"SECRET_KEY": new, "SECRET_KEY_FALLBACKS": old})
        without = run("-c", self.READ, signed, **FULL | {"SECRET_KEY": new})

        assert with_fallback.stdout.strip() == "ada"
        assert "BadSignature" in without.stderr


def test_static_files_are_gathered_without_a_secret():
    result = run("manage.py", "collectstatic", "--noinput", "--dry-run", settings="base")

    assert result.returncode == 0, result.stderr
