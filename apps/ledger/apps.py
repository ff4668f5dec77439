from django.apps import AppConfig


class LedgerConfig(AppConfig):
    name = "apps.ledger"

    def ready(self) -> None:
        from apps.ledger import housekeeping, metrics, optional_gate  # noqa: F401, PLC0415  metrics and a check are registered

        # A REDIS_URL that redis-py rejects ends the start, not every request.
        optional_gate.get_gate()
