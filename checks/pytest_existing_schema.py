"""pytest plugin: run the tests on an existing schema, which another version's migrations created.

`checks/compatibility.py` loads it, with `--reuse-db`, which keeps the database. pytest-django's `--no-migrations` cannot
replace it: it would create missing tables from the models, and hide what this looks for.
"""

from typing import Any

from django.conf import settings
from django.db.backends.base.creation import BaseDatabaseCreation
from django.db.backends.postgresql.operations import DatabaseOperations

sql_flush = DatabaseOperations.sql_flush


def use_existing_database(self: Any, *_: object, **__: object) -> str:
    """Replace `create_test_db`, which would migrate."""
    name: str = self._get_test_db_name()
    self.connection.close()
    settings.DATABASES[self.connection.alias]["NAME"] = self.connection.settings_dict["NAME"] = name
    return name


def flush_with_cascade(self: Any, style: Any, tables: Any, **options: Any) -> Any:
    """Truncate also the other version's tables that refer to the flushed ones."""
    return sql_flush(self, style, tables, **options | {"allow_cascade": True})


# mypy forbids to replace methods; that is the purpose of this plugin.
BaseDatabaseCreation.create_test_db = use_existing_database  # type: ignore[method-assign]
DatabaseOperations.sql_flush = flush_with_cascade  # type: ignore[method-assign]
