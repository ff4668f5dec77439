"""Version of the schema that this checkout migrates to: a hash of all migrations and of the grants.

    DJANGO_SETTINGS_MODULE=config.settings.base python -m checks.schema_version

Two commits with the same version differ in nothing that `manage.py migrate` does, so the code of each runs on the other's
database. deploy/images.py tags the image with it. A comment in a migration changes it, too: then a rollback asks.
"""

# A command line tool: it prints.
# ruff: noqa: T201

import hashlib
import inspect
import json
from pathlib import Path

import django

LENGTH = 12


def version() -> str:
    """Return the version."""
    # These imports need django.setup().
    from django.db.migrations.loader import MigrationLoader  # noqa: PLC0415

    from apps.database.grants import DEFAULT_PRIVILEGES, table_privileges  # noqa: PLC0415

    migrations = MigrationLoader(None).disk_migrations
    parts = {
        f"{label}.{name}": Path(inspect.getfile(type(migration))).read_text()
        for (label, name), migration in migrations.items()
    }
    whole = {"migrations": parts, "default": DEFAULT_PRIVILEGES, "tables": table_privileges()}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:LENGTH]


if __name__ == "__main__":
    django.setup()
    print(version())
