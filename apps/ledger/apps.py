import random
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from django.apps import AppConfig

if TYPE_CHECKING:
    from apps.ledger.example_data import ExampleHistory


class LedgerConfig(AppConfig):
    name = "apps.ledger"
    table_privileges: ClassVar = {
        "ledger_entry": "SELECT, INSERT",
        "ledger_transaction": "SELECT, INSERT",
        # An account's owner, currency and idempotency key never change.
        "ledger_account": "SELECT, INSERT, UPDATE (name, balance, version, status, closed_at)",
    }

    def example_data(self, rng: "random.Random", owner_ids: "list[UUID]", rows: int) -> "ExampleHistory":
        from apps.ledger.example_data import ExampleHistory  # noqa: PLC0415  models are loaded later than this module

        return ExampleHistory(rng, owner_ids, rows)

    def ready(self) -> None:
        from apps.ledger import housekeeping, metrics, optional_gate  # noqa: F401, PLC0415  metrics and a check are registered

        # A REDIS_URL that redis-py rejects ends the start, not every request.
        optional_gate.get_gate()
