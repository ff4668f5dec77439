"""Django's `flush`, which empties all tables, without the limits of a request: the tests' too, after each that commits."""

from typing import Any

from django.core.management.commands import flush
from django.db import connections

from apps.database.postgresql import session_without_timeouts


class Command(flush.Command):
    def handle(self, **options: Any) -> None:
        with session_without_timeouts(connections[options["database"]]):
            super().handle(**options)
