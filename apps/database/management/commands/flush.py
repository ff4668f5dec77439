"""Django's `flush`, which empties all tables, without the limits of a request: the tests' too, after each that commits."""

from typing import Any

from django.core.management.commands import flush
from django.db import connections

from apps.database.postgresql import without_limits


class Command(flush.Command):
    def handle(self, **options: Any) -> None:
        with without_limits(connections[options["database"]]):
            super().handle(**options)
