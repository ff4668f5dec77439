"""Parse, execute, render: the bank over HTTP."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import get_conditional_response
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from apps.core.errors import PermissionDenied
from apps.core.problem import BadRequest
from apps.core.views import Endpoint, ListEndpoint
from apps.ledger import errors
from apps.ledger.models import Account, Entry, Receipt, Transaction
from apps.ledger.serializers import (
    AccountOutput,
    EmptyInput,
    MoneyInput,
    OpenAccountInput,
    ReversalInput,
    StatementLine,
    StatementQuery,
    TransactionOutput,
    TransferInput,
)
from apps.ledger.use_cases.close_account import CloseAccount
from apps.ledger.use_cases.deposit import Deposit
from apps.ledger.use_cases.open_account import OpenAccount
from apps.ledger.use_cases.reverse_transaction import ReverseTransaction
from apps.ledger.use_cases.transfer import Transfer
from apps.ledger.use_cases.withdraw import Withdraw

F = TypeVar("F", bound=Callable[..., Any])

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    OpenApiParameter.HEADER,
    required=True,
    description="The client's name for this one intent; the same key and body again get the same answer.",
)
LOCATION = OpenApiParameter("Location", str, OpenApiParameter.HEADER, response=[201], description="Where it is now.")
REPLAYED = OpenApiParameter(
    "Idempotent-Replayed",
    {"type": "string", "enum": ["true"]},
    OpenApiParameter.HEADER,
    response=[201, 422],
    description="There when this repeats an earlier answer.",
)
ETAG = OpenApiParameter("ETag", str, OpenApiParameter.HEADER, response=[200], description="The account's version.")
CLAIMS = (errors.IdempotencyKeyReused, errors.IdempotencyKeyInProgress, errors.Contention)


class AccountsView(ListEndpoint):
    """The caller's accounts."""

    ordering = "-id"
    serializer_class = AccountOutput

    def get_queryset(self) -> QuerySet[Account]:
        return Account.objects.owned_by(self.caller_id)

    @extend_schema(operation_id="account_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the caller's accounts, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        request=OpenAccountInput, responses={201: AccountOutput}, operation_id="account_open", parameters=[LOCATION]
    )
    def post(self, request: Request) -> Response:
        """Open an empty account, in the default currency unless another is named."""
        account = OpenAccount(owner_id=self.caller_id, **self.body(OpenAccountInput), now=timezone.now()).execute()
        location = reverse("account", args=[account.pk])
        return Response(AccountOutput(account).data, status=201, headers={"Location": location})


class AccountView(Endpoint):
    """One of the caller's accounts."""

    @extend_schema(responses={200: AccountOutput}, operation_id="account_retrieve", parameters=[ETAG])
    def get(self, request: Request, account_id: UUID) -> HttpResponseBase:
        """Return an account; its ETag is its version, so If-None-Match asks cheaply whether money has moved."""
        account = Account.objects.owned_by(self.caller_id).get_or_refuse(account_id)
        etag = etag_of(account)
        response = Response(AccountOutput(account).data, headers={"ETag": etag})
        return get_conditional_response(request, etag, response=response) or response


class CloseView(Endpoint):
    """The end of an account."""

    refusals = (errors.AccountNotEmpty, errors.Contention)

    @extend_schema(request=None, responses={200: AccountOutput}, operation_id="account_close", parameters=[ETAG])
    def post(self, request: Request, account_id: UUID) -> Response:
        """Close an empty account for good; closing it again changes nothing."""
        self.body(EmptyInput)
        account = CloseAccount(owner_id=self.caller_id, account_id=account_id).execute()
        return Response(AccountOutput(account).data, headers={"ETag": etag_of(account)})


class MoneyEndpoint(Endpoint):
    """An operation that moves money once per idempotency key."""

    bad_requests = ("idempotency_key_missing", "idempotency_key_invalid")

    def idempotency_key(self) -> str:
        """Return the header: 1 to 255 visible ASCII characters. Raises BadRequest."""
        key = self.request.headers.get("Idempotency-Key")
        if key is None:
            raise BadRequest("idempotency_key_missing", "Moving money needs an Idempotency-Key header.")
        if not re.fullmatch(r"[!-~]{1,255}", key, re.ASCII):
            raise BadRequest("idempotency_key_invalid", "An Idempotency-Key has 1 to 255 visible ASCII characters.")
        return key


def money_schema(request: type[Serializer[Any]], operation_id: str) -> Callable[[F], F]:
    """Return the OpenAPI description that all money operations share."""
    described: Callable[[F], F] = extend_schema(
        request=request,
        responses={201: TransactionOutput},
        operation_id=operation_id,
        parameters=[IDEMPOTENCY_KEY, LOCATION, REPLAYED],
    )
    return described


class DepositsView(MoneyEndpoint):
    """Money into an account."""

    refusals = (errors.CurrencyMismatch, errors.AccountClosed, errors.BalanceLimitExceeded, *CLAIMS)

    @money_schema(MoneyInput, "account_deposit")
    def post(self, request: Request, account_id: UUID) -> Response:
        """Pay money into an account of the caller's."""
        key = self.idempotency_key()
        body = self.body(MoneyInput)
        return rendered(Deposit(actor_id=self.caller_id, account_id=account_id, idempotency_key=key, **body).execute())


class WithdrawalsView(MoneyEndpoint):
    """Money out of an account."""

    refusals = (errors.CurrencyMismatch, errors.AccountClosed, errors.InsufficientFunds, *CLAIMS)

    @money_schema(MoneyInput, "account_withdraw")
    def post(self, request: Request, account_id: UUID) -> Response:
        """Pay money out of an account of the caller's."""
        key = self.idempotency_key()
        body = self.body(MoneyInput)
        return rendered(Withdraw(actor_id=self.caller_id, account_id=account_id, idempotency_key=key, **body).execute())


class TransfersView(MoneyEndpoint):
    """Money from one account to another."""

    refusals = (
        errors.SameAccount,
        errors.DestinationInvalid,
        errors.CurrencyMismatch,
        errors.AccountClosed,
        errors.InsufficientFunds,
        errors.BalanceLimitExceeded,
        *CLAIMS,
    )

    @money_schema(TransferInput, "account_transfer")
    def post(self, request: Request, account_id: UUID) -> Response:
        """Move money from an account of the caller's to any open account of the same currency."""
        key = self.idempotency_key()
        body = self.body(TransferInput)
        destination_id = body.pop("destination")
        transfer = Transfer(
            actor_id=self.caller_id,
            account_id=account_id,
            destination_id=destination_id,
            idempotency_key=key,
            **body,
        )
        return rendered(transfer.execute())


class StatementView(ListEndpoint):
    """The entries of one account."""

    ordering = "-sequence"
    serializer_class = StatementLine
    filters = StatementQuery

    def get_queryset(self) -> QuerySet[Entry]:
        account = Account.objects.owned_by(self.caller_id).get_or_refuse(self.kwargs["account_id"])
        entries = account.entries.select_related("transaction")
        for name, lookup in LOOKUPS.items():
            if name in self.query:
                entries = entries.filter(lookup(self.query[name]))
        return entries

    @extend_schema(operation_id="account_statement", parameters=[StatementQuery])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List an account's posted entries, newest first."""
        return super().get(request, *args, **kwargs)


LOOKUPS: dict[str, Any] = {
    "kind": lambda kind: Q(transaction__kind=kind),
    "created_from": lambda moment: Q(created_at__gte=moment),
    "created_to": lambda moment: Q(created_at__lt=moment),
    "min_amount": lambda amount: Q(amount__gte=amount) | Q(amount__lte=-amount),
    "max_amount": lambda amount: Q(amount__lte=amount, amount__gte=-amount),
}


class TransactionEndpoint(Endpoint):
    """An operation on one transaction."""

    def seen(self, transaction_id: UUID) -> Receipt:
        """Return a transaction with the caller's own leg of it; raises NotFound."""
        transactions = Transaction.objects.with_entries()
        if not self.request.user.is_staff:
            transactions = transactions.visible_to(self.caller_id)
        transaction = transactions.get_or_refuse(transaction_id)
        return Receipt(transaction=transaction, entry=transaction.entry_for(self.caller_id))


class TransactionView(TransactionEndpoint):
    """One transaction, posted or declined."""

    @extend_schema(responses={200: TransactionOutput}, operation_id="transaction_retrieve")
    def get(self, request: Request, transaction_id: UUID) -> Response:
        """Return a transaction that touches an account of the caller's; staff see every one."""
        return Response(TransactionOutput(self.seen(transaction_id)).data)


class ReversalView(TransactionEndpoint, MoneyEndpoint):
    """The undoing of a transaction."""

    refusals = (
        PermissionDenied,
        errors.NotReversible,
        errors.AlreadyReversed,
        errors.AccountClosed,
        errors.InsufficientFunds,
        errors.BalanceLimitExceeded,
        *CLAIMS,
    )

    @money_schema(ReversalInput, "transaction_reverse")
    def post(self, request: Request, transaction_id: UUID) -> Response:
        """Send a posted transaction's money back the way it came, at most once; staff only."""
        key = self.idempotency_key()
        body = self.body(ReversalInput)
        receipt = ReverseTransaction(
            actor_id=self.caller_id,
            actor_is_staff=request.user.is_staff,
            transaction_id=transaction_id,
            idempotency_key=key,
            **body,
        ).execute()
        # Staff may own one of the accounts, or none: which leg is theirs is read, not assumed.
        return rendered(replace(self.seen(receipt.transaction.pk), replayed=receipt.replayed))


def rendered(receipt: Receipt) -> Response:
    """Return 201 with the transaction and its place."""
    headers = {"Location": reverse("transaction", args=[receipt.transaction.pk])}
    if receipt.replayed:
        headers["Idempotent-Replayed"] = "true"
    return Response(TransactionOutput(receipt).data, status=201, headers=headers)


def etag_of(account: Account) -> str:
    """Return the account's version as an entity tag; closing makes no entry, so it shows beside the version."""
    return f'"{account.version}-closed"' if account.is_closed else f'"{account.version}"'
