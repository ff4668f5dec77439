"""Fixtures of the ledger's live tests: those of all live tests, and the check of the books."""

from collections.abc import Iterator

import pytest

from tests.ledger.assertions import assert_books_balance
from tests.support.browser import chromium, laptop, superuser, visit
from tests.support.live import server, token
from tests.support.server import Server

__all__ = ["chromium", "laptop", "server", "superuser", "token", "visit"]


@pytest.fixture
def books(server: Server) -> Iterator[None]:
    """Check after the test that the books balance and that the server logged no unplanned error."""
    yield
    assert_books_balance()
    assert server.complaints() == []
