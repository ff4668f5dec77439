"""Fixtures of the whole suite, its seed, and the guard that keeps it away from any database but its own."""

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import TestCase, TransactionTestCase
from rest_framework.test import APIClient

from apps.core.middleware import probes as health
from apps.users.models import User
from tests.factories import UserFactory, client_of

# pytest explains a failed assertion by itself in test modules only.
# Those of the settings are imported already.
packages = {f"tests.{folder.name}" for folder in Path(__file__).parent.iterdir() if (folder / "__init__.py").exists()}
pytest.register_assert_rewrite(*(packages - sys.modules.keys()))
# An app may bring hooks of its own, in tests/<app>/plugin.py.
plugins = sorted(Path(__file__).parent.glob("*/plugin.py"))
pytest_plugins = ["tests.support.fixtures", *(f"tests.{plugin.parent.name}.plugin" for plugin in plugins)]

TEST_SETTINGS = "tests.settings.test"
TEST_DATABASE = "app_test"


# Code in a transaction reads the primary, so only tests that commit may meet the replica (Django forbids it by default).
TransactionTestCase.databases = {"default", "replica"}
TestCase.databases = {"default"}

SEED = pytest.StashKey[int]()
# They run processes of their own, or code that is no part of the application: tracing would take time and count nothing.
TESTS = Path(__file__).parent
NOT_TRACED = {TESTS / folder for folder in ("monitoring", "devtools", "checks", "deploy")} | {*TESTS.glob("**/live")}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="The number that every random test starts from; by default a new one.")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed, and refuse to run before a database is touched: the suite empties tables."""
    named = config.getoption("--seed")
    if named is None:
        # A process of pytest-xdist's takes the one that the report's header shows.
        named = getattr(config, "workerinput", {}).get("seed", random.SystemRandom().randrange(2**32))
    config.stash[SEED] = named
    name = settings.DATABASES["default"].get("NAME")
    if settings.SETTINGS_MODULE != TEST_SETTINGS:
        raise pytest.UsageError(f"The suite runs on {TEST_SETTINGS} only, not on {settings.SETTINGS_MODULE}.")
    if name != TEST_DATABASE:
        raise pytest.UsageError(
            f"The suite runs on the database {TEST_DATABASE} only; TEST_DATABASE_URL names {name!r}."
        )


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Give the seed to a process that runs a part of the suite."""
    node.workerinput["seed"] = node.config.stash[SEED]


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {config.stash[SEED]} (the same again: make test SEED={config.stash[SEED]})"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the header again under what failed: `-q` leaves it out, and logs are read from the end."""
    if terminalreporter.stats.keys() & {"failed", "error"}:
        terminalreporter.line(pytest_report_header(config))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Start Hypothesis from the seed by its decorator: `--hypothesis-seed` would keep it from saving what fails."""
    for item in items:
        if NOT_TRACED & set(item.path.parents):
            item.add_marker(pytest.mark.no_cover)
        if item.get_closest_marker("hypothesis"):
            hypothesis.seed(config.stash[SEED])(getattr(item.obj, "__func__", item.obj))


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """The number that every random test starts from; the report's header shows it."""
    return request.config.stash[SEED]


@pytest.fixture(scope="session", autouse=True)
def _close_probes(django_db_setup):
    """The probes keep a connection, which would keep the test database from being dropped."""
    yield
    health.database.close()


@pytest.fixture
def user(db) -> User:
    return UserFactory()


@pytest.fixture
def staff(db) -> User:
    return UserFactory(is_staff=True)


@pytest.fixture
def client(user) -> APIClient:
    return client_of(user)


@pytest.fixture(scope="module")
def for_all(django_db_setup, django_db_blocker) -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Make something in the database once for all tests of a file; what each of them changes is undone as ever."""

    def make(what: Callable[[], Any]) -> Any:
        with django_db_blocker.unblock():
            return what()

    yield make
    with django_db_blocker.unblock():
        call_command("flush", interactive=False, verbosity=0)
