from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register


class LedgerConfig(AppConfig):
    name = "apps.ledger"

    def ready(self) -> None:
        from apps.ledger import contention, housekeeping  # noqa: F401, PLC0415  they register the metrics and a check at the start

        # A REDIS_URL that redis-py rejects ends the start, not every request.
        contention.get_gate()


@register
def default_currency_is_current(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse a default currency in which no account can be opened."""
    from apps.ledger.money import CURRENT  # noqa: PLC0415  a process that checks nothing need not read the list here

    if settings.LEDGER_DEFAULT_CURRENCY in CURRENT:
        return []
    return [Error("LEDGER_DEFAULT_CURRENCY is not a current code of ISO 4217.", id="ledger.E001")]
