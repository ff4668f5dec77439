"""The last migration of an app, for tests that take it back or add one."""

from django.db.migrations.loader import MigrationLoader


def last_migration(app_label: str) -> tuple[str, str]:
    """Return the app's label and the name of its last migration, as MigrationRecorder takes them."""
    (leaf,) = MigrationLoader(None).graph.leaf_nodes(app_label)
    return leaf
