"""FastAPI and SQLModel with psycopg, as FastAPI's template has them: sync functions, a session for each request, the ORM."""

# ruff: noqa: TID251  # its environment is the benchmark's

import hashlib
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated
from uuid import UUID

import argon2
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from sqlalchemy.exc import IntegrityError
from sqlmodel import Column, DateTime, Field, Numeric, Session, SQLModel, create_engine, select
from uuid_utils.compat import uuid7

from tests.ledger.benchmarks.peers.asgi import (
    AccountOutput,
    LogInInput,
    MoneyInput,
    MovementOutput,
    ObservedMiddleware,
    PageOutput,
    TokenOutput,
    TransferInput,
)

HOST, _, NAME = os.environ["BENCHMARK_DATABASE"].partition(" ")
HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# The template's: a pool of 5, and 10 more while they are needed.
engine = create_engine(f"postgresql+psycopg://app@/{NAME}?host={HOST}")


def money() -> Column:
    return Column(Numeric(19, 4))


def moment() -> Column:
    return Column(DateTime(timezone=True))


def now() -> datetime:
    return datetime.now(UTC)


class Customer(SQLModel, table=True):
    id: UUID = Field(primary_key=True)
    username: str
    password: str


class Token(SQLModel, table=True):
    digest: bytes = Field(primary_key=True)
    customer_id: UUID = Field(foreign_key="customer.id")
    expires_at: datetime = Field(sa_column=moment())


class Account(SQLModel, table=True):
    id: UUID = Field(primary_key=True)
    owner_id: UUID = Field(foreign_key="customer.id")
    name: str
    currency: str
    balance: Decimal = Field(sa_column=money())
    version: int
    status: str
    created_at: datetime = Field(sa_column=moment())


class Movement(SQLModel, table=True):
    id: UUID = Field(default_factory=uuid7, primary_key=True)
    account_id: UUID = Field(foreign_key="account.id")
    idempotency_key: str
    kind: str
    source_id: UUID | None = None
    destination_id: UUID | None = None
    amount: Decimal = Field(sa_column=money())
    currency: str
    reference: str
    created_by_id: UUID = Field(foreign_key="customer.id")
    created_at: datetime = Field(default_factory=now, sa_column=moment())


class Entry(SQLModel, table=True):
    id: UUID = Field(default_factory=uuid7, primary_key=True)
    movement_id: UUID = Field(foreign_key="movement.id")
    account_id: UUID = Field(foreign_key="account.id")
    sequence: int
    amount: Decimal = Field(sa_column=money())
    balance_after: Decimal = Field(sa_column=money())
    created_at: datetime = Field(default_factory=now, sa_column=moment())


app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
app.add_middleware(ObservedMiddleware)


def get_session() -> Iterator[Session]:
    with Session(engine) as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session)]


def get_current_user(request: Request, session: SessionDep, authorization: Annotated[str, Header()]) -> Customer:
    digest = hashlib.sha256(authorization.removeprefix("Token ").encode()).digest()
    user = session.exec(select(Customer).join(Token).where(Token.digest == digest, Token.expires_at > now())).first()
    if user is None:
        raise HTTPException(401)
    request.state.user_id = user.id
    return user


CurrentUser = Annotated[Customer, Depends(get_current_user)]
Key = Annotated[str, Header(alias="Idempotency-Key", max_length=255)]


@app.post("/api/v1/accounts/{account_id}/withdrawals/", status_code=201)
def withdraw(session: SessionDep, user: CurrentUser, account_id: UUID, body: MoneyInput, key: Key) -> MovementOutput:
    account = session.exec(
        select(Account).where(Account.id == account_id, Account.owner_id == user.id).with_for_update()
    ).first()
    if account is None:
        raise HTTPException(404)
    if account.balance < body.amount:
        raise HTTPException(422, "insufficient_funds")
    movement = Movement(
        account_id=account.id,
        idempotency_key=key,
        kind="withdrawal",
        source_id=account.id,
        amount=body.amount,
        currency=account.currency,
        reference=body.reference,
        created_by_id=user.id,
    )
    return _save(session, movement, [(account, -body.amount)])


@app.post("/api/v1/accounts/{account_id}/transfers/", status_code=201)
def transfer(session: SessionDep, user: CurrentUser, account_id: UUID, body: TransferInput, key: Key) -> MovementOutput:
    pair = select(Account).where(Account.id.in_([account_id, body.destination])).order_by(Account.id).with_for_update()
    accounts = {account.id: account for account in session.exec(pair)}
    source, destination = accounts.get(account_id), accounts.get(body.destination)
    if source is None or destination is None or source.owner_id != user.id:
        raise HTTPException(404)
    if source.balance < body.amount:
        raise HTTPException(422, "insufficient_funds")
    movement = Movement(
        account_id=source.id,
        idempotency_key=key,
        kind="transfer",
        source_id=source.id,
        destination_id=destination.id,
        amount=body.amount,
        currency=source.currency,
        reference=body.reference,
        created_by_id=user.id,
    )
    return _save(session, movement, [(source, -body.amount), (destination, body.amount)])


def _save(session: Session, movement: Movement, legs: list[tuple[Account, Decimal]]) -> MovementOutput:
    """Write a movement and its legs, the first of which is the caller's own."""
    account_id, key = movement.account_id, movement.idempotency_key
    entries = []
    session.add(movement)
    try:
        session.flush()
        for account, amount in legs:
            account.balance += amount
            account.version += 1
            entries.append(
                Entry(
                    movement_id=movement.id,
                    account_id=account.id,
                    sequence=account.version,
                    amount=amount,
                    balance_after=account.balance,
                )
            )
            session.add(account)
        session.add_all(entries)
        session.commit()
    except IntegrityError:
        session.rollback()
        return _replay(session, account_id, key)
    # As the template does after a commit, which expires what was loaded.
    session.refresh(movement)
    session.refresh(entries[0])
    return _output(movement, entries[0])


def _replay(session: Session, account_id: UUID, key: str) -> MovementOutput:
    movement, entry = session.exec(
        select(Movement, Entry)
        .join(Entry, Entry.movement_id == Movement.id)
        .where(Movement.account_id == account_id, Movement.idempotency_key == key, Entry.account_id == account_id)
    ).one()
    return _output(movement, entry)


def _output(movement: Movement, entry: Entry) -> MovementOutput:
    return MovementOutput(
        id=movement.id,
        kind=movement.kind,
        amount=movement.amount,
        currency=movement.currency,
        source=movement.source_id,
        destination=movement.destination_id,
        reference=movement.reference,
        created_at=movement.created_at,
        entry={"sequence": entry.sequence, "amount": entry.amount, "balance_after": entry.balance_after},
    )


@app.get("/api/v1/accounts/{account_id}/")
def account(session: SessionDep, user: CurrentUser, account_id: UUID) -> AccountOutput:
    account = session.exec(select(Account).where(Account.id == account_id, Account.owner_id == user.id)).first()
    if account is None:
        raise HTTPException(404)
    return AccountOutput(**account.model_dump())


@app.get("/api/v1/accounts/{account_id}/transactions/")
def statement(
    request: Request,
    session: SessionDep,
    user: CurrentUser,
    account_id: UUID,
    limit: int = 50,
    cursor: int | None = None,
) -> PageOutput:
    account = session.exec(select(Account).where(Account.id == account_id, Account.owner_id == user.id)).first()
    if account is None:
        raise HTTPException(404)
    page = (
        select(Entry, Movement).join(Movement, Movement.id == Entry.movement_id).where(Entry.account_id == account_id)
    )
    if cursor is not None:
        page = page.where(Entry.sequence < cursor)
    rows = session.exec(page.order_by(Entry.sequence.desc()).limit(limit + 1)).all()
    lines = [
        {
            "sequence": entry.sequence,
            "amount": entry.amount,
            "balance_after": entry.balance_after,
            "id": movement.id,
            "kind": movement.kind,
            "reference": movement.reference,
            "created_at": entry.created_at,
        }
        for entry, movement in rows[:limit]
    ]
    following = f"{request.url.replace(query='')}?cursor={lines[-1]['sequence']}" if len(rows) > limit else None
    return PageOutput(next=following, previous=None, results=lines)


@app.post("/api/token/")
def log_in(session: SessionDep, body: LogInInput) -> TokenOutput:
    user = session.exec(select(Customer).where(Customer.username == body.username)).first()
    try:
        HASHER.verify(user.password, body.password)
    except argon2.exceptions.VerifyMismatchError:
        raise HTTPException(400, "invalid_credentials") from None
    key, expires_at = secrets.token_urlsafe(32), now() + timedelta(hours=10)
    session.add(Token(digest=hashlib.sha256(key.encode()).digest(), customer_id=user.id, expires_at=expires_at))
    session.commit()
    return TokenOutput(token=key, expires_at=expires_at)


@app.get("/livez/")
def alive() -> dict[str, str]:
    return {}
