"""Database router: everything is the primary's, migrations as well; the replica is read by `apps.database.replica` alone."""

from typing import Any

from django.db import DEFAULT_DB_ALIAS, models

from apps.database.replica import ALIAS


class PrimaryRouter:
    """Send reads and writes to `default`. A router of another database goes before it in DATABASE_ROUTERS."""

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str:
        """Return `default`, also for what hangs on a row that the replica returned."""
        return DEFAULT_DB_ALIAS

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str:
        return DEFAULT_DB_ALIAS

    def allow_relation(self, first: models.Model, second: models.Model, **hints: Any) -> bool | None:
        """Return True for rows of one database, whichever of its servers returned them."""
        servers = {DEFAULT_DB_ALIAS, ALIAS}
        return True if {first._state.db, second._state.db} <= servers else None  # noqa: SLF001  Django's documented way

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Return False for the replica, which has the primary's tables."""
        return False if db == ALIAS else None
