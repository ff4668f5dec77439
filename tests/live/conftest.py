"""Fixtures of the live tests."""

from tests.support.browser import chromium, laptop, superuser, visit
from tests.support.live import notes_server, server, token

__all__ = ["chromium", "laptop", "notes_server", "server", "superuser", "token", "visit"]
