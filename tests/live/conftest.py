"""Fixtures of the live tests."""

from tests.support.live import server, token

__all__ = ["server", "token"]
