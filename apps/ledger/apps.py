from typing import ClassVar

from django.apps import AppConfig


class LedgerConfig(AppConfig):
    name = "apps.ledger"
    table_privileges: ClassVar = {
        "ledger_entry": "SELECT, INSERT",
        "ledger_transaction": "SELECT, INSERT",
        # An account's owner, currency and idempotency key never change.
        "ledger_account": "SELECT, INSERT, UPDATE (name, balance, version, status, closed_at)",
    }

    def ready(self) -> None:
        from apps.ledger import housekeeping, metrics, optional_gate  # noqa: F401, PLC0415  metrics and a check are registered

        # A REDIS_URL that redis-py rejects ends the start, not every request.
        optional_gate.get_gate()
