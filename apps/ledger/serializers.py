"""Serializers of the ledger's requests and responses."""

from typing import Any, ClassVar

from django.conf import settings
from rest_framework import serializers

from apps.core.fields import StrictDateTimeField, StrictSerializer, StrictUUIDField, TextField
from apps.core.money.amounts import format_amount
from apps.core.money.errors import ensure_exact
from apps.core.money.fields import AmountBoundField, AmountField, CurrencyField, NewCurrencyField
from apps.ledger.models import Account, Entry, Transaction
from apps.ledger.receipts import Receipt


class OpenAccountInput(StrictSerializer):
    """The account to open; both fields are optional."""

    currency = NewCurrencyField(required=False)
    name = TextField(required=False, default="", allow_blank=True, max_length=100)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return {"currency": settings.DEFAULT_CURRENCY} | attrs


class RenameAccountInput(StrictSerializer):
    """The new name of an account; an empty one removes it."""

    name = TextField(allow_blank=True, max_length=100)


class MoneyInput(StrictSerializer):
    """An amount; `currency`, where it is sent, must be the account's."""

    amount = AmountField()
    currency = CurrencyField(required=False, default=None)
    reference = TextField(required=False, default="", allow_blank=True, max_length=140)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        # Without a currency the account's own decides, which only the posting statement reads.
        if attrs["currency"] is not None:
            ensure_exact(attrs["amount"], attrs["currency"])
        return attrs


class TransferInput(MoneyInput):
    """An amount and the account that receives it."""

    destination = StrictUUIDField()


class ReversalInput(StrictSerializer):
    """An optional reference for the reversal."""

    reference = TextField(required=False, default="", allow_blank=True, max_length=140)


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
        return format_amount(entry.amount, self._currency(entry))

    def get_balance_after(self, entry: Entry) -> str:
        return format_amount(entry.balance_after, self._currency(entry))

    def _currency(self, entry: Entry) -> str:
        return str(entry.transaction.currency)


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
    kind = serializers.ChoiceField(choices=Transaction.Kind.choices)
    reference = serializers.CharField()
    created_at = serializers.DateTimeField()

    def _currency(self, entry: Entry) -> str:
        # The same as the transaction's, which a statement does not read.
        return str(entry.account.currency)
