"""Money as text and as numbers: exact to the currency's minor unit, never rounded, never a float."""

import re
from decimal import Decimal
from functools import cache

from iso4217 import Currency

MAX_BALANCE = Decimal("999999999999999.9999")
"""What `numeric(19,4)` can hold."""

_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,14})(\.[0-9]+)?", re.ASCII)

MAX_EXPONENT = 4

EXPONENTS: dict[str, int] = {
    currency.code: currency.exponent
    for currency in Currency
    if currency.exponent is not None and currency.exponent <= MAX_EXPONENT
}
"""Decimal places of each currency by its ISO 4217 code; gold, test codes and the like have none and are left out."""


def parse_amount(text: str) -> Decimal | None:
    """Return the exact value of a decimal string such as "25.00", keeping its places, or None if it is not one.

    Matched in ASCII before a Decimal is made: Decimal's own parser takes "1_000", "1e3", "NaN" and other scripts' digits.
    """
    return Decimal(text) if _AMOUNT.fullmatch(text) else None


def decimal_places(amount: Decimal) -> int:
    """Return how many decimal places the amount was written with."""
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int)  # noqa: S101  parse_amount yields no NaN or Infinity
    return max(0, -exponent)


@cache
def currencies_coarser_than(places: int) -> list[str]:
    """Return the currencies whose minor unit cannot express an amount with so many decimal places."""
    return sorted(code for code, exponent in EXPONENTS.items() if exponent < places)


def format_amount(amount: Decimal, currency: str) -> str:
    """Return the amount with exactly its currency's decimal places: "100" JPY, "1.00" USD, "1.000" KWD."""
    return f"{amount:.{EXPONENTS[currency]}f}"
