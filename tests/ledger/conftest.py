from collections.abc import Iterator

import pytest
from django.db import connection

from apps.database.postgresql import base
from apps.ledger.models import Account
from tests.ledger.factories import AccountFactory
from tests.support.patience import HANG_S


@pytest.fixture
def _all_the_time(monkeypatch) -> Iterator[None]:
    """A hundred at once take as long as the machine lets them, to connect and to wait for each other."""
    connection.close()
    options = connection.settings_dict["OPTIONS"]
    limits = "-c lock_timeout=0 -c statement_timeout=0"
    monkeypatch.setitem(
        connection.settings_dict, "OPTIONS", options | {"connect_timeout": int(HANG_S), "options": limits}
    )
    monkeypatch.setattr(base.TimeoutConnection, "response_timeout_s", None)
    yield
    connection.close()


@pytest.fixture
def account(user) -> Account:
    """An account of the user's with 100.00 USD in it."""
    return AccountFactory(owner=user, funded="100.00")
