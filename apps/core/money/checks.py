"""System check of the setting DEFAULT_CURRENCY."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register
def default_currency_is_current(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse a default currency that ISO 4217 has withdrawn or never had."""
    from apps.core.money.currencies import CURRENT  # noqa: PLC0415  a process that checks nothing need not read the list

    if settings.DEFAULT_CURRENCY in CURRENT:
        return []
    return [Error("DEFAULT_CURRENCY is not a current code of ISO 4217.", id="core.E001")]
