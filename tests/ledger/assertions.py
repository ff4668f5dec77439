"""Assertions on the state of the books that hold after every test."""

from apps.ledger.verification import check


def assert_books_balance() -> None:
    """Check every invariant, as `manage.py verify_ledger` does; inside a test's own transaction there is no snapshot."""
    broken = [finding for finding in check() if finding.violations]
    assert not broken, broken
