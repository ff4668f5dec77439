"""A handful of fixtures, and the guard that keeps the suite away from any database but its own."""

import pytest
from django.conf import settings
from rest_framework.test import APIClient

from apps.core import health
from apps.ledger.models import Account
from apps.users.models import User
from tests.factories import AccountFactory, UserFactory, client_of

TEST_SETTINGS = "config.settings.test"
TEST_DATABASE = "app_test"


def pytest_configure() -> None:
    """Refuse to run before a database is touched: the suite empties tables."""
    name = settings.DATABASES["default"].get("NAME")
    if settings.SETTINGS_MODULE != TEST_SETTINGS:
        raise pytest.UsageError(f"The suite runs on {TEST_SETTINGS} only, not on {settings.SETTINGS_MODULE}.")
    if name != TEST_DATABASE:
        raise pytest.UsageError(
            f"The suite runs on the database {TEST_DATABASE} only; TEST_DATABASE_URL names {name!r}."
        )


@pytest.fixture(scope="session", autouse=True)
def _close_probes(django_db_setup):
    """The probes keep a connection each, which would keep the test database from being dropped."""
    yield
    health.reachable.close()
    health.migrated.close()


@pytest.fixture
def user(db) -> User:
    return UserFactory()


@pytest.fixture
def staff(db) -> User:
    return UserFactory(is_staff=True)


@pytest.fixture
def client(user) -> APIClient:
    return client_of(user)


@pytest.fixture
def account(user) -> Account:
    """An account of the user's with 100.00 USD in it."""
    return AccountFactory(owner=user, funded="100.00")
