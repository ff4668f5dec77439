"""Optional gate of the money commands: a queue in front of the database, made by what a setting names."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol
from uuid import UUID

from django.conf import settings
from django.utils.module_loading import import_string


class Gate(Protocol):
    """A queue in front of the database for the commands on an account; it may delay a command, never refuse it."""

    def acquire(self, account_ids: Iterable[UUID]) -> AbstractContextManager[object]: ...


def get_gate() -> Gate | None:
    """Return the gate that `LEDGER_GATE_FACTORY` makes, or None where the setting is absent or the gate is off."""
    factory = getattr(settings, "LEDGER_GATE_FACTORY", None)
    gate: Gate | None = import_string(factory)() if factory else None
    return gate
