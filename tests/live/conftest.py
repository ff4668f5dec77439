"""Fixtures of the live tests."""

from tests.support.live import notes_server, server, token

__all__ = ["notes_server", "server", "token"]
