"""Django's `flush` (empty all tables) without the time limits of a request; tests that commit run it, too."""

from typing import Any

from django.core.management.commands import flush
from django.db import connections

from apps.database.postgresql import session_without_timeouts


class Command(flush.Command):
    def handle(self, **options: Any) -> None:
        with session_without_timeouts(connections[options["database"]]):
            super().handle(**options)
