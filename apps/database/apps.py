"""App configuration of the database: `/readyz/` reports the replica."""

from django.apps import AppConfig

from apps.core.middleware.probes import reported_states
from apps.database import replica


class DatabaseConfig(AppConfig):
    name = "apps.database"

    def ready(self) -> None:
        if replica.is_configured():
            reported_states["replica"] = replica.state
