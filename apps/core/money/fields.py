"""Serializer fields of money: amounts and currencies are read from JSON only here."""

from decimal import Decimal
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.core.money.amounts import AMOUNT_PATTERN, decimal_places, parse_amount, positive_amount_pattern
from apps.core.money.currencies import CURRENT, EXPONENTS, MAX_EXPONENT

CODES = sorted(EXPONENTS)
CURRENT_CODES = sorted(CURRENT)


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "pattern": positive_amount_pattern(int(settings.MAX_AMOUNT))},
            {"type": "integer", "minimum": 1, "maximum": int(settings.MAX_AMOUNT)},
        ],
        "example": "25.00",
        "description": "A decimal string, exact to the currency's minor unit; a whole number may be a JSON integer.",
    }
)
class AmountField(serializers.Field[Decimal, Any, str, Any]):
    """A decimal string or a JSON integer; a JSON float is refused, because it has lost digits already.

    must_be_positive: whether zero is refused, and what exceeds MAX_AMOUNT; otherwise it is a bound to compare with.
    """

    default_error_messages: ClassVar = {
        "invalid": 'An amount is a decimal string such as "25.00".',
        "min_value": "The amount must be positive.",
        "max_value": "The amount must not exceed {limit}.",
        "max_decimal_places": "The amount has too many decimal places.",
    }

    def __init__(self, *, must_be_positive: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.must_be_positive = must_be_positive

    def to_internal_value(self, data: Any) -> Decimal:
        is_integer = isinstance(data, int) and not isinstance(data, bool)
        amount = parse_amount(str(data)) if isinstance(data, str) or is_integer else None
        if amount is None:
            code = ("min_value" if data < 0 else "max_value") if is_integer else "invalid"
            self.fail(code, limit=settings.MAX_AMOUNT)
        if decimal_places(amount) > MAX_EXPONENT:
            self.fail("max_decimal_places")
        if self.must_be_positive and amount <= 0:
            self.fail("min_value")
        if self.must_be_positive and amount > settings.MAX_AMOUNT:
            self.fail("max_value", limit=settings.MAX_AMOUNT)
        return amount

    def to_representation(self, value: Decimal) -> str:
        return str(value)


@extend_schema_field({"type": "string", "pattern": AMOUNT_PATTERN, "example": "25.00"})
class AmountBoundField(AmountField):
    """An amount to compare with; it may be zero or exceed MAX_AMOUNT."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(must_be_positive=False, **kwargs)


class CurrencyField(serializers.ChoiceField):
    """An ISO 4217 code in capitals, withdrawn ones included: what is in them goes on."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=CODES, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid_choice", input="")
        return str(super().to_internal_value(data))


@extend_schema_field({"type": "string", "enum": CURRENT_CODES})
class NewCurrencyField(CurrencyField):
    """A current ISO 4217 code in the schema. A withdrawn one is left to the use case, which may replay."""
