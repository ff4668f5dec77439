from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register


class LedgerConfig(AppConfig):
    name = "apps.ledger"

    def ready(self) -> None:
        from apps.ledger import gate, housekeeping, metrics  # noqa: F401, PLC0415  what they register is there from the start

        # A REDIS_URL that cannot be read ends the start, not every request.
        gate.prepare()


@register
def default_currency_is_current(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse a default in which no account can be opened (any more)."""
    from apps.ledger.money import CURRENT  # noqa: PLC0415  a process that checks nothing need not read the list here

    if settings.LEDGER_DEFAULT_CURRENCY in CURRENT:
        return []
    return [Error("LEDGER_DEFAULT_CURRENCY is no code that ISO 4217 has now.", id="ledger.E001")]
