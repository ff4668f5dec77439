"""Amounts of money as text and as numbers: exact to the currency's minor unit, never rounded, never a float."""

import re
from decimal import Decimal

from apps.core.money.currencies import DEFAULT_EXPONENT, EXPONENTS, MAX_EXPONENT

MAX_VALUE = Decimal("999999999999999.9999")
"""The largest value of `numeric(19,4)`."""

MAX_INTEGER_DIGITS = 15

_INTEGER_PART = rf"(0|[1-9][0-9]{{0,{MAX_INTEGER_DIGITS - 1}}})"
AMOUNT_PATTERN = rf"^{_INTEGER_PART}(\.[0-9]{{1,{MAX_EXPONENT}}})?$"
"""The grammar of amounts, for the OpenAPI schema."""
# Any number of places: too many are an error of their own.
_AMOUNT = re.compile(rf"{_INTEGER_PART}(\.[0-9]+)?", re.ASCII)


def positive_amount_pattern(limit: int) -> str:
    """Return AMOUNT_PATTERN for the amounts above 0 and up to a whole number, for the OpenAPI schema."""
    digits = str(limit)
    up_to_limit = [f"[1-9][0-9]{{0,{len(digits) - 2}}}"] if len(digits) > 1 else []
    for place, digit in enumerate(digits):
        lowest = "1" if place == 0 else "0"
        if digit > lowest:
            rest = len(digits) - place - 1
            up_to_limit.append(f"{digits[:place]}[{lowest}-{int(digit) - 1}][0-9]{{{rest}}}")
    fractions = r"0\.([1-9][0-9]{0,3}|0[1-9][0-9]{0,2}|00[1-9][0-9]?|000[1-9])"
    places = f"{{1,{MAX_EXPONENT}}}"
    return rf"^(({'|'.join(up_to_limit)})(\.[0-9]{places})?|{digits}(\.0{places})?|{fractions})$"


def parse_amount(text: str) -> Decimal | None:
    """Return the exact value of a decimal string such as "25.00", keeping its places, or None if it is not one.

    The text is matched in ASCII before a Decimal is made, because Decimal's own parser accepts "1_000", "1e3", "NaN" and
    other scripts' digits.
    """
    return Decimal(text) if _AMOUNT.fullmatch(text) else None


def decimal_places(amount: Decimal) -> int:
    """Return how many decimal places the amount was written with."""
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int)  # noqa: S101  parse_amount yields no NaN or Infinity
    return max(0, -exponent)


def format_amount(amount: Decimal, currency: str) -> str:
    """Return the amount with exactly its currency's decimal places: "100" JPY, "1.00" USD, "1.000" KWD.

    A stored amount with more places than that is shown whole; a code that is in no list has DEFAULT_EXPONENT.
    """
    # Decimal(): the balance of an account that was not read back is the model's default, the integer 0.
    places = max(EXPONENTS.get(currency, DEFAULT_EXPONENT), decimal_places(Decimal(amount).normalize()))
    return f"{amount:.{places}f}"


def format_stored(text: str, currency: str) -> str:
    """Return what `format_amount` does, of PostgreSQL's text of a `numeric(19,4)`, in a third of the time."""
    whole, _, fraction = text.partition(".")
    places = max(EXPONENTS.get(currency, DEFAULT_EXPONENT), len(fraction.rstrip("0")))
    return f"{whole}.{fraction[:places]}" if places else whole
