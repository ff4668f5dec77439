"""Serializers of the ledger's requests and responses; money is read from JSON and written to it only here."""

from decimal import Decimal
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.core.fields import StrictDateTimeField, StrictSerializer, StrictUUIDField, TextField
from apps.ledger.errors import AmountTooFine
from apps.ledger.models import Account, Entry, Transaction
from apps.ledger.money import (
    AMOUNT_PATTERN,
    CURRENT,
    EXPONENTS,
    MAX_EXPONENT,
    decimal_places,
    format_amount,
    parse_amount,
    positive_amount_pattern,
)
from apps.ledger.receipts import Receipt

CODES = sorted(EXPONENTS)
CURRENT_CODES = sorted(CURRENT)


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "pattern": positive_amount_pattern(int(settings.LEDGER_MAX_AMOUNT))},
            {"type": "integer", "minimum": 1, "maximum": int(settings.LEDGER_MAX_AMOUNT)},
        ],
        "example": "25.00",
        "description": "A decimal string, exact to the currency's minor unit; a whole number may be a JSON integer.",
    }
)
class AmountField(serializers.Field[Decimal, Any, str, Any]):
    """A decimal string or a JSON integer; a JSON float is refused, because it has lost digits already.

    must_be_positive: whether zero is refused, and what exceeds LEDGER_MAX_AMOUNT; otherwise it is a bound to compare with.
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
            self.fail(code, limit=settings.LEDGER_MAX_AMOUNT)
        if decimal_places(amount) > MAX_EXPONENT:
            self.fail("max_decimal_places")
        if self.must_be_positive and amount <= 0:
            self.fail("min_value")
        if self.must_be_positive and amount > settings.LEDGER_MAX_AMOUNT:
            self.fail("max_value", limit=settings.LEDGER_MAX_AMOUNT)
        return amount

    def to_representation(self, value: Decimal) -> str:
        return str(value)


@extend_schema_field({"type": "string", "pattern": AMOUNT_PATTERN, "example": "25.00"})
class AmountBoundField(AmountField):
    """An amount to compare with; it may be zero or exceed LEDGER_MAX_AMOUNT."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(must_be_positive=False, **kwargs)


class CurrencyField(serializers.ChoiceField):
    """An ISO 4217 code in capitals, withdrawn ones included: accounts in them go on."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=CODES, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid_choice", input="")
        return str(super().to_internal_value(data))


@extend_schema_field({"type": "string", "enum": CURRENT_CODES})
class NewCurrencyField(CurrencyField):
    """A current ISO 4217 code in the schema. A withdrawn one is left to the use case, which replays an earlier opening."""


class OpenAccountInput(StrictSerializer):
    """The account to open; both fields are optional."""

    currency = NewCurrencyField(required=False)
    name = TextField(required=False, default="", allow_blank=True, max_length=100)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return {"currency": settings.LEDGER_DEFAULT_CURRENCY} | attrs


class RenameAccountInput(StrictSerializer):
    """The new name of an account; an empty one removes it."""

    name = TextField(allow_blank=True, max_length=100)


class MoneyInput(StrictSerializer):
    """An amount; `currency`, where it is sent, must be the account's."""

    amount = AmountField()
    currency = CurrencyField(required=False, default=None)
    reference = TextField(required=False, default="", allow_blank=True, max_length=140)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        currency = attrs["currency"]
        # Without a currency the account's own decides, which only the posting statement reads.
        if currency is not None and decimal_places(attrs["amount"]) > EXPONENTS[currency]:
            raise AmountTooFine(currency=currency)
        return attrs


class TransferInput(MoneyInput):
    """An amount and the account that receives it."""

    destination = StrictUUIDField()


class ReversalInput(StrictSerializer):
    """An optional reference for the reversal."""

    reference = TextField(required=False, default="", allow_blank=True, max_length=140)


class EmptyInput(StrictSerializer):
    """An empty body."""


class StatementQuery(serializers.Serializer[Any]):
    """Filters of a statement; amounts are compared without their sign."""

    kind = serializers.ChoiceField(choices=Transaction.Kind.choices, required=False)
    created_from = StrictDateTimeField(required=False, help_text="Inclusive.")
    created_to = StrictDateTimeField(required=False, help_text="Exclusive.")
    min_amount = AmountBoundField(required=False)
    max_amount = AmountBoundField(required=False)


class AccountOutput(serializers.ModelSerializer[Account]):
    """An account as its owner sees it."""

    balance = serializers.SerializerMethodField()

    class Meta:
        model = Account
        fields = ("id", "name", "currency", "balance", "status", "version", "created_at")
        extra_kwargs: ClassVar = {"version": {"min_value": 0}}

    def get_balance(self, account: Account) -> str:
        return format_amount(account.balance, account.currency)


class EntryOutput(serializers.Serializer[Entry]):
    """The caller's leg of a transaction; the other side's balance is never shown."""

    sequence = serializers.IntegerField()
    amount = serializers.SerializerMethodField()
    balance_after = serializers.SerializerMethodField()

    def get_amount(self, entry: Entry) -> str:
        return format_amount(entry.amount, entry.transaction.currency)

    def get_balance_after(self, entry: Entry) -> str:
        return format_amount(entry.balance_after, entry.transaction.currency)


class TransactionOutput(serializers.Serializer[Receipt]):
    """A transaction and the caller's own entry, null when it was declined; rendered from a receipt."""

    id = serializers.UUIDField(source="transaction.id")
    kind = serializers.ChoiceField(choices=Transaction.Kind.choices, source="transaction.kind")
    status = serializers.ChoiceField(choices=Transaction.Status.choices, source="transaction.status")
    amount = serializers.SerializerMethodField()
    currency = serializers.CharField(source="transaction.currency")
    source = serializers.UUIDField(source="transaction.source_id", allow_null=True)  # type: ignore[assignment]  # a field of this name
    destination = serializers.UUIDField(source="transaction.destination_id", allow_null=True)
    reference = serializers.CharField(source="transaction.reference")
    reverses = serializers.UUIDField(source="transaction.reverses_id", allow_null=True)
    created_at = serializers.DateTimeField(source="transaction.created_at")
    entry = EntryOutput(allow_null=True)

    def get_amount(self, receipt: Receipt) -> str:
        return format_amount(receipt.transaction.amount, receipt.transaction.currency)


class StatementLine(EntryOutput):
    """One line of an account's statement; the id is the transaction's."""

    id = serializers.UUIDField(source="transaction_id")
    kind = serializers.ChoiceField(choices=Transaction.Kind.choices, source="transaction.kind")
    reference = serializers.CharField(source="transaction.reference")
    created_at = serializers.DateTimeField()
