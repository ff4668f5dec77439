from django.apps import AppConfig


class LedgerConfig(AppConfig):
    name = "apps.ledger"

    def ready(self) -> None:
        from apps.ledger import gate, metrics  # noqa: F401, PLC0415  whose series are there before the first request

        # A REDIS_URL that cannot be read ends the start, not every request.
        gate.prepare()
