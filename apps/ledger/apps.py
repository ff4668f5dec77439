from django.apps import AppConfig


class LedgerConfig(AppConfig):
    name = "apps.ledger"

    def ready(self) -> None:
        from apps.ledger import gate, housekeeping, metrics  # noqa: F401, PLC0415  what they register is there from the start

        # A REDIS_URL that cannot be read ends the start, not every request.
        gate.prepare()
