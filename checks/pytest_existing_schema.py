"""A pytest plugin: the tests run on the schema that is there, which other code than theirs has migrated."""

from typing import Any

from django.conf import settings
from django.db.backends.base.creation import BaseDatabaseCreation
from django.db.backends.postgresql.operations import DatabaseOperations

sql_flush = DatabaseOperations.sql_flush


def take_as_it_is(self: Any, *_: object, **__: object) -> str:
    """Stand in for `create_test_db`, which would migrate."""
    name: str = self._get_test_db_name()
    self.connection.close()
    settings.DATABASES[self.connection.alias]["NAME"] = self.connection.settings_dict["NAME"] = name
    return name


def leave_as_it_is(*_: object, **__: object) -> None:
    """Stand in for `destroy_test_db`."""


def flush_what_refers_to_it_too(self: Any, style: Any, tables: Any, **options: Any) -> Any:
    """Empty tables of which this code knows nothing along with those that they refer to."""
    return sql_flush(self, style, tables, **options | {"allow_cascade": True})


# A method is replaced, which mypy forbids and this file is for.
BaseDatabaseCreation.create_test_db = take_as_it_is  # type: ignore[method-assign]
BaseDatabaseCreation.destroy_test_db = leave_as_it_is  # type: ignore[method-assign]
DatabaseOperations.sql_flush = flush_what_refers_to_it_too  # type: ignore[method-assign]
