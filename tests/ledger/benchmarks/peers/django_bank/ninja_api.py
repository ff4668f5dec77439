"""The same in django-ninja with the ORM, under row locks."""

import secrets
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from django.contrib.auth import authenticate
from django.utils import timezone
from ninja import Header, NinjaAPI, Schema
from ninja.errors import HttpError
from ninja.security import APIKeyHeader
from pydantic import Field, PlainSerializer

from tests.ledger.benchmarks.peers.django_bank import money
from tests.ledger.benchmarks.peers.django_bank.models import Account, Entry, Token, digest_of

Amount = Annotated[Decimal, PlainSerializer(lambda amount: f"{amount:.2f}", return_type=str)]


class HashedToken(APIKeyHeader):
    param_name = "Authorization"

    def authenticate(self, request, key):
        digest = digest_of((key or "").removeprefix("Token "))
        token = Token.objects.select_related("user").filter(digest=digest, expires_at__gt=timezone.now()).first()
        return token.user if token else None


class MoneyInput(Schema):
    amount: Decimal = Field(gt=0, max_digits=15, decimal_places=2)
    reference: str = Field("", max_length=140)


class TransferInput(MoneyInput):
    destination: UUID


class LogInInput(Schema):
    username: str
    password: str


class OwnEntryOutput(Schema):
    sequence: int
    amount: Amount
    balance_after: Amount


class MovementOutput(Schema):
    id: UUID
    kind: str
    status: str = "posted"
    amount: Amount
    currency: str
    source: UUID | None
    destination: UUID | None
    reference: str
    reverses: UUID | None = None
    created_at: datetime
    entry: OwnEntryOutput


class AccountOutput(Schema):
    id: UUID
    name: str
    currency: str
    balance: Amount
    status: str
    version: int
    created_at: datetime


class LineOutput(OwnEntryOutput):
    id: UUID = Field(alias="movement_id")
    kind: str = Field(alias="movement.kind")
    reference: str = Field(alias="movement.reference")
    created_at: datetime


class PageOutput(Schema):
    next: str | None
    previous: str | None
    results: list[LineOutput]


class TokenOutput(Schema):
    token: str
    expires_at: datetime


api = NinjaAPI(auth=HashedToken(), docs_url=None, openapi_url=None)
Key = Annotated[str, Header(alias="Idempotency-Key", max_length=255)]


@api.post("/v1/accounts/{uuid:account_id}/withdrawals/", response={201: MovementOutput})
def withdraw(request, account_id: UUID, body: MoneyInput, key: Key):
    return _posted(
        money.withdraw,
        owner=request.auth,
        account_id=account_id,
        amount=body.amount,
        reference=body.reference,
        key=key,
        variant="locked",
    )


@api.post("/v1/accounts/{uuid:account_id}/transfers/", response={201: MovementOutput})
def transfer(request, account_id: UUID, body: TransferInput, key: Key):
    return _posted(
        money.transfer,
        owner=request.auth,
        account_id=account_id,
        destination_id=body.destination,
        amount=body.amount,
        reference=body.reference,
        key=key,
    )


def _posted(move, **command):
    try:
        entry: Entry = move(**command)
    except money.InsufficientFundsError:
        raise HttpError(422, "insufficient_funds") from None
    except Account.DoesNotExist:
        raise HttpError(404, "not_found") from None
    movement = entry.movement
    return 201, {
        "id": movement.pk,
        "kind": movement.kind,
        "amount": movement.amount,
        "currency": movement.currency,
        "source": movement.source_id,
        "destination": movement.destination_id,
        "reference": movement.reference,
        "created_at": movement.created_at,
        "entry": entry,
    }


@api.get("/v1/accounts/{uuid:account_id}/", response=AccountOutput)
def account(request, account_id: UUID):
    try:
        return Account.objects.get(pk=account_id, owner=request.auth)
    except Account.DoesNotExist:
        raise HttpError(404, "not_found") from None


@api.get("/v1/accounts/{uuid:account_id}/transactions/", response=PageOutput)
def statement(request, account_id: UUID, limit: int = 50, cursor: int | None = None):
    entries = money.statement(owner=request.auth, account_id=account_id, cursor=cursor, limit=limit)
    lines, more = entries[:limit], entries[limit:]
    following = f"{request.build_absolute_uri(request.path)}?cursor={lines[-1].sequence}" if more else None
    return {"next": following, "previous": None, "results": lines}


@api.post("/token/", response=TokenOutput, auth=None)
def log_in(request, body: LogInInput):
    user = authenticate(username=body.username, password=body.password)
    if user is None:
        raise HttpError(400, "invalid_credentials")
    key, expires_at = secrets.token_urlsafe(32), timezone.now() + timedelta(hours=10)
    Token.objects.create(digest=digest_of(key), user=user, expires_at=expires_at)
    return {"token": key, "expires_at": expires_at}
