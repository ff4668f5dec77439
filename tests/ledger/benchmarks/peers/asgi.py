"""Metrics, log line and bodies of a request, shared by both contenders in FastAPI."""

from datetime import datetime
from decimal import Decimal
from time import perf_counter
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field, PlainSerializer

from tests.ledger.benchmarks.peers import observed

Amount = Annotated[Decimal, PlainSerializer(lambda amount: f"{amount:.2f}", return_type=str)]
Key = Annotated[str, Field(max_length=255)]


class ObservedMiddleware:
    """Plain ASGI middleware, because Starlette's BaseHTTPMiddleware costs more than all that it would do here."""

    def __init__(self, app) -> None:
        self.app = app

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, request_id, status = perf_counter(), observed.new_request_id(), 500

        async def send_with_id(message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id.encode()))
            await send(message)

        scope["state"] = {}
        await self.app(scope, receive, send_with_id)
        route = scope.get("route")
        user_id = scope["state"].get("user_id")
        observed.record(
            method=scope["method"],
            route=route.path if route else "",
            status=status,
            started=started,
            request_id=request_id,
            user_id=str(user_id) if user_id else None,
        )


class MoneyInput(BaseModel):
    amount: Decimal = Field(gt=0, max_digits=15, decimal_places=2)
    reference: str = Field("", max_length=140)


class TransferInput(MoneyInput):
    destination: UUID


class LogInInput(BaseModel):
    username: str
    password: str


class OwnEntryOutput(BaseModel):
    sequence: int
    amount: Amount
    balance_after: Amount


class MovementOutput(BaseModel):
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


class AccountOutput(BaseModel):
    id: UUID
    name: str
    currency: str
    balance: Amount
    status: str
    version: int
    created_at: datetime


class LineOutput(BaseModel):
    sequence: int
    amount: Amount
    balance_after: Amount
    id: UUID
    kind: str
    reference: str
    created_at: datetime


class PageOutput(BaseModel):
    next: str | None
    previous: str | None
    results: list[LineOutput]


class TokenOutput(BaseModel):
    token: str
    expires_at: datetime
