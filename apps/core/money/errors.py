"""Domain errors of amounts of money."""

from decimal import Decimal

from apps.core.errors import InvalidField
from apps.core.money.amounts import decimal_places
from apps.core.money.currencies import EXPONENTS


class AmountTooFine(InvalidField):
    """The amount has more decimal places than its currency; it is never rounded, and the error is not recorded."""

    def __init__(self, *, currency: str) -> None:
        super().__init__(
            field="amount",
            field_code="max_decimal_places",
            message=f"{currency} does not have so many decimal places.",
        )


def ensure_exact(amount: Decimal, currency: str) -> None:
    """Raise AmountTooFine for an amount with more decimal places than its currency."""
    if decimal_places(amount) > EXPONENTS[currency]:
        raise AmountTooFine(currency=currency)
