"""API views of the ledger: each parses the request, executes one use case and renders its result.

Longer than 250 lines because it is a list: one class for each URL, which can be read by itself.
"""

from dataclasses import replace
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.conditional import PreconditionFailed, conditional_response, precondition, tagged_response
from apps.core.contention import Contention
from apps.core.creation import CREATION_ERRORS
from apps.core.errors import PermissionDenied
from apps.core.fields import EmptyInput
from apps.core.idempotency import IdempotencyKeyMissing, optional_key, replay_header, required_key
from apps.core.min_version import min_version
from apps.core.openapi import ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION, MIN_VERSION, key_parameter, replayed_header
from apps.core.views import Endpoint, ListEndpoint, created_response
from apps.database import replica
from apps.database.keyset import KeysetList
from apps.ledger import errors, prepared_reads
from apps.ledger.models import Account, Transaction
from apps.ledger.openapi import money_schema
from apps.ledger.receipts import Receipt
from apps.ledger.serializers import (
    AccountOutput,
    MoneyInput,
    OpenAccountInput,
    RenameAccountInput,
    ReversalInput,
    StatementLine,
    StatementQuery,
    TransactionOutput,
    TransferInput,
    transaction_output,
    usual_money,
)
from apps.ledger.use_cases.close_account import CloseAccount
from apps.ledger.use_cases.deposit import Deposit
from apps.ledger.use_cases.open_account import OpenAccount
from apps.ledger.use_cases.rename_account import RenameAccount
from apps.ledger.use_cases.reverse_transaction import ReverseTransaction
from apps.ledger.use_cases.transfer import Transfer
from apps.ledger.use_cases.withdraw import Withdraw


class AccountsView(ListEndpoint):
    """The caller's accounts."""

    ordering = "-id"
    serializer_class = AccountOutput
    domain_errors_by_method: ClassVar = {"POST": CREATION_ERRORS}

    def get_rows(self) -> KeysetList:
        return prepared_reads.own_accounts(self.caller_id)

    @extend_schema(operation_id="account_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the caller's accounts, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        request=OpenAccountInput,
        responses={201: AccountOutput},
        operation_id="account_open",
        parameters=[key_parameter(required=False), LOCATION, ETAG, replayed_header(201)],
    )
    def post(self, request: Request) -> Response:
        """Open an empty account, in the default currency unless another is named.

        With an Idempotency-Key, the same key and body again return the account as it is by then.
        """
        key = optional_key(request.headers)
        body = self.validated_body(OpenAccountInput)
        opening = OpenAccount(owner_id=self.caller_id, idempotency_key=key, **body, now=timezone.now()).execute()
        return created_response(opening, AccountOutput, url_name="account")


class AccountView(Endpoint):
    """One of the caller's accounts."""

    domain_errors = (PreconditionFailed,)
    domain_errors_by_method: ClassVar = {"PATCH": (Contention,)}

    @extend_schema(
        responses={200: AccountOutput, 304: OpenApiResponse(description="The client has the current representation.")},
        operation_id="account_retrieve",
        parameters=[IF_MATCH, IF_NONE_MATCH, ETAG],
    )
    def get(self, request: Request, account_id: UUID) -> Response:
        """Return an account; with If-None-Match, 304 if nothing that it shows has changed."""
        return conditional_response(request, prepared_reads.own_account(self.caller_id, account_id))

    @extend_schema(
        request=RenameAccountInput,
        responses={200: AccountOutput},
        operation_id="account_rename",
        parameters=[IF_MATCH, ETAG],
    )
    def patch(self, request: Request, account_id: UUID) -> Response:
        """Rename an account, a closed one too; with If-Match, only if it is unchanged since the client read it."""
        body = self.validated_body(RenameAccountInput)
        condition = precondition(request, AccountOutput)
        rename = RenameAccount(owner_id=self.caller_id, account_id=account_id, precondition=condition, **body)
        return tagged_response(AccountOutput(rename.execute()).data)


class CloseView(Endpoint):
    """Closing of one account."""

    domain_errors = (errors.AccountNotEmpty, Contention)

    @extend_schema(request=None, responses={200: AccountOutput}, operation_id="account_close", parameters=[ETAG])
    def post(self, request: Request, account_id: UUID) -> Response:
        """Close an empty account for good; closing it again changes nothing."""
        self.validated_body(EmptyInput)
        account = CloseAccount(owner_id=self.caller_id, account_id=account_id).execute()
        return tagged_response(AccountOutput(account).data)


class MoneyEndpoint(Endpoint):
    """An operation that moves money once per idempotency key."""

    domain_errors_by_method: ClassVar = {"POST": (IdempotencyKeyMissing, *CREATION_ERRORS)}

    def validated_money(self) -> dict[str, Any]:
        """Return the validated body of a deposit or withdrawal. Raises: the errors of the parser and of `MoneyInput`."""
        return usual_money(self.request.data) or self.validated_body(MoneyInput)


class DepositsView(MoneyEndpoint):
    """Deposits into one account."""

    domain_errors = (errors.CurrencyMismatch, errors.AccountClosed, errors.BalanceLimitExceeded)

    @money_schema(MoneyInput, "account_deposit")
    def post(self, request: Request, account_id: UUID) -> Response:
        """Pay money into an account of the caller's."""
        key = required_key(request.headers)
        body = self.validated_money()
        return receipt_response(
            Deposit(actor_id=self.caller_id, account_id=account_id, idempotency_key=key, **body).execute()
        )


class WithdrawalsView(MoneyEndpoint):
    """Withdrawals from one account."""

    domain_errors = (errors.CurrencyMismatch, errors.AccountClosed, errors.InsufficientFunds)

    @money_schema(MoneyInput, "account_withdraw")
    def post(self, request: Request, account_id: UUID) -> Response:
        """Pay money out of an account of the caller's."""
        key = required_key(request.headers)
        body = self.validated_money()
        return receipt_response(
            Withdraw(actor_id=self.caller_id, account_id=account_id, idempotency_key=key, **body).execute()
        )


class TransfersView(MoneyEndpoint):
    """Transfers from one account to another."""

    domain_errors = (
        errors.SameAccount,
        errors.DestinationInvalid,
        errors.CurrencyMismatch,
        errors.AccountClosed,
        errors.InsufficientFunds,
        errors.BalanceLimitExceeded,
    )

    @money_schema(TransferInput, "account_transfer")
    def post(self, request: Request, account_id: UUID) -> Response:
        """Move money from an account of the caller's to any open account of the same currency."""
        key = required_key(request.headers)
        body = self.validated_body(TransferInput)
        destination_id = body.pop("destination")
        transfer = Transfer(
            actor_id=self.caller_id,
            account_id=account_id,
            destination_id=destination_id,
            idempotency_key=key,
            **body,
        )
        return receipt_response(transfer.execute())


class StatementView(ListEndpoint):
    """The entries of one account."""

    ordering = "-sequence"
    serializer_class = StatementLine
    filters = StatementQuery

    database = DEFAULT_DB_ALIAS
    """The server that the page is read from."""

    def get_page(self) -> Response:
        """Return one page from the replica if that is new enough."""
        version = min_version(self.request.headers)
        return replica.read(self._page_from, reaches=None if version is None else partial(self._has, version))

    def _page_from(self, database: str) -> Response:
        if database != DEFAULT_DB_ALIAS:
            # Who owns an account is always the primary's to say.
            Account.objects.owned_by(self.caller_id).get_or_refuse(self.kwargs["account_id"])
        self.database = database
        return super().get_page()

    def _has(self, version: int, database: str) -> bool:
        return Account.objects.using(database).filter(pk=self.kwargs["account_id"], version__gte=version).exists()

    def get_rows(self) -> KeysetList:
        return prepared_reads.statement(
            self.caller_id,
            self.kwargs["account_id"],
            self.validated_query,
            using=self.database,
            # A replica may not have it yet.
            may_be_missing=self.database != DEFAULT_DB_ALIAS,
        )

    @extend_schema(operation_id="account_statement", parameters=[StatementQuery, MIN_VERSION])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List an account's posted entries, newest first.

        With Min-Version, at least all that the account had at that version; without it, an entry of the last seconds may be
        missing where lists are read from a replica.
        """
        return super().get(request, *args, **kwargs)


class TransactionEndpoint(Endpoint):
    """An operation on one transaction."""

    def get_receipt(self, transaction_id: UUID) -> Receipt:
        """Return the receipt of a transaction with the caller's own entry. Raises: NotFound."""
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
        return Response(transaction_output(self.get_receipt(transaction_id)))


class ReversalView(TransactionEndpoint, MoneyEndpoint):
    """Reversal of one transaction."""

    domain_errors = (
        PermissionDenied,
        errors.NotReversible,
        errors.AlreadyReversed,
        errors.AccountClosed,
        errors.InsufficientFunds,
        errors.BalanceLimitExceeded,
    )

    @money_schema(ReversalInput, "transaction_reverse")
    def post(self, request: Request, transaction_id: UUID) -> Response:
        """Send a posted transaction's money back the way it came, at most once; staff only."""
        key = required_key(request.headers)
        body = self.validated_body(ReversalInput)
        receipt = ReverseTransaction(
            actor_id=self.caller_id,
            actor_is_staff=request.user.is_staff,
            transaction_id=transaction_id,
            idempotency_key=key,
            **body,
        ).execute()
        # Staff may own one of the accounts, or none, so the entry to show is read again.
        return receipt_response(replace(self.get_receipt(receipt.transaction.pk), replayed=receipt.replayed))


def receipt_response(receipt: Receipt) -> Response:
    """Return 201 with the transaction and its Location."""
    location = reverse("transaction", args=[receipt.transaction.pk])
    headers = {"Location": location} | replay_header(replayed=receipt.replayed)
    return Response(transaction_output(receipt), status=201, headers=headers)
