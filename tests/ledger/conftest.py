import pytest

from apps.ledger.models import Account
from tests.ledger.factories import AccountFactory


@pytest.fixture
def account(user) -> Account:
    """An account of the user's with 100.00 USD in it."""
    return AccountFactory(owner=user, funded="100.00")
