from django.apps import AppConfig

from apps.ledger import gate


class LedgerConfig(AppConfig):
    name = "apps.ledger"

    def ready(self) -> None:
        # A REDIS_URL that cannot be read ends the start, not every request.
        gate.prepare()
