"""Roles of the database: whose connection Django uses for a while."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper


@contextmanager
def connected_as(connection: BaseDatabaseWrapper, entry: Mapping[str, Any]) -> Iterator[None]:
    """Let a connection be the one of another `DATABASES` entry."""
    usual = connection.settings_dict.copy()
    connection.close()
    connection.settings_dict.update(entry)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(usual)
