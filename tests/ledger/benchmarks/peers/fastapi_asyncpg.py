"""FastAPI and asyncpg: one prepared statement for the token and one for the work, the fastest plain code of this stack."""

# ruff: noqa: TID251  # its environment is the benchmark's

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import argon2
import asyncpg
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
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
CONNECTIONS_OF_A_WORKER = 4
HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

CALLER = "SELECT customer_id FROM token WHERE digest = $1 AND expires_at > now()"
# $1 account, $2 owner, $3 amount, $4 movement, $5 key, $6 reference, $7 entry
WITHDRAW = """
WITH moved AS (
    UPDATE account SET balance = balance - $3, version = version + 1
    WHERE id = $1 AND owner_id = $2 AND balance >= $3
    RETURNING id, currency, balance, version
), recorded AS (
    INSERT INTO movement (
        id, account_id, idempotency_key, kind, source_id, amount, currency, reference, created_by_id, created_at
    )
    SELECT $4, id, $5, 'withdrawal', id, $3, currency, $6, $2, now() FROM moved
    RETURNING id, created_at
), booked AS (
    INSERT INTO entry (id, movement_id, account_id, sequence, amount, balance_after, created_at)
    SELECT $7, recorded.id, moved.id, version, -$3::numeric, balance, recorded.created_at FROM moved, recorded
)
SELECT currency, version, balance, created_at FROM moved, recorded
"""
# As above; $8 destination, $9 its entry. The rows are locked in the order of their keys.
TRANSFER = """
WITH locked AS MATERIALIZED (
    SELECT id, owner_id, currency, balance, version FROM account WHERE id IN ($1, $8) ORDER BY id FOR NO KEY UPDATE
), legs AS (
    SELECT locked.id, locked.balance + leg.amount AS balance, locked.version + 1 AS version, leg.amount, leg.entry_id
    FROM locked JOIN (VALUES ($1::uuid, -$3::numeric, $7::uuid), ($8::uuid, $3::numeric, $9::uuid))
        AS leg (id, amount, entry_id) ON leg.id = locked.id
    WHERE EXISTS (SELECT 1 FROM locked WHERE id = $1 AND owner_id = $2 AND balance >= $3)
      AND EXISTS (SELECT 1 FROM locked WHERE id = $8)
), moved AS (
    UPDATE account SET balance = legs.balance, version = legs.version FROM legs WHERE account.id = legs.id
    RETURNING legs.*, account.currency
), recorded AS (
    INSERT INTO movement (
        id, account_id, idempotency_key, kind, source_id, destination_id, amount, currency, reference, created_by_id,
        created_at
    )
    SELECT $4, id, $5, 'transfer', id, $8, $3, currency, $6, $2, now() FROM moved WHERE id = $1
    RETURNING id, created_at
), booked AS (
    INSERT INTO entry (id, movement_id, account_id, sequence, amount, balance_after, created_at)
    SELECT entry_id, recorded.id, moved.id, version, amount, balance, recorded.created_at FROM moved, recorded
)
SELECT currency, version, balance, created_at FROM moved, recorded WHERE moved.id = $1
"""
REPLAY = """
SELECT movement.id, kind, source_id, destination_id, movement.amount, currency, reference, movement.created_at, sequence,
       balance_after
FROM movement JOIN entry ON entry.movement_id = movement.id AND entry.account_id = movement.account_id
WHERE movement.account_id = $1 AND idempotency_key = $2 AND created_by_id = $3
"""
ACCOUNT = """
SELECT id, name, currency, balance, status, version, created_at FROM account WHERE id = $1 AND owner_id = $2
"""
STATEMENT = """
SELECT sequence, entry.amount, balance_after, movement.id, kind, reference, entry.created_at
FROM entry JOIN movement ON movement.id = entry.movement_id
WHERE entry.account_id = $1 AND sequence < $2
ORDER BY sequence DESC LIMIT $3
"""
OWNS = "SELECT 1 FROM account WHERE id = $1 AND owner_id = $2"
CUSTOMER = "SELECT id, password FROM customer WHERE username = $1"
ISSUE = "INSERT INTO token (digest, customer_id, expires_at) VALUES ($1, $2, $3)"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    size = CONNECTIONS_OF_A_WORKER
    async with asyncpg.create_pool(host=HOST, database=NAME, user="app", min_size=size, max_size=size) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
app.add_middleware(ObservedMiddleware)


async def database(request: Request) -> AsyncIterator[asyncpg.Connection]:
    async with request.app.state.pool.acquire() as connection:
        yield connection


Database = Annotated[asyncpg.Connection, Depends(database)]


async def caller(request: Request, database: Database, authorization: Annotated[str, Header()]) -> UUID:
    """Return the user of the token."""
    digest = hashlib.sha256(authorization.removeprefix("Token ").encode()).digest()
    user_id = await database.fetchval(CALLER, digest)
    if user_id is None:
        raise HTTPException(401)
    request.state.user_id = user_id
    return user_id


Caller = Annotated[UUID, Depends(caller)]
Key = Annotated[str, Header(alias="Idempotency-Key", max_length=255)]


@app.post("/api/v1/accounts/{account_id}/withdrawals/", status_code=201)
async def withdraw(
    account_id: UUID, body: MoneyInput, user_id: Caller, key: Key, database: Database, response: Response
) -> MovementOutput:
    id_ = uuid7()
    parameters = (account_id, user_id, body.amount, id_, key, body.reference, uuid7())
    return await _post(database, response, WITHDRAW, parameters, kind="withdrawal", destination=None)


@app.post("/api/v1/accounts/{account_id}/transfers/", status_code=201)
async def transfer(
    account_id: UUID, body: TransferInput, user_id: Caller, key: Key, database: Database, response: Response
) -> MovementOutput:
    id_ = uuid7()
    parameters = (account_id, user_id, body.amount, id_, key, body.reference, uuid7(), body.destination, uuid7())
    return await _post(database, response, TRANSFER, parameters, kind="transfer", destination=body.destination)


async def _post(
    database: asyncpg.Connection,
    response: Response,
    statement: str,
    parameters: tuple[Any, ...],
    *,
    kind: str,
    destination: UUID | None,
) -> MovementOutput:
    account_id, user_id, amount, id_, key, reference, *_ = parameters
    try:
        row = await database.fetchrow(statement, *parameters)
    except asyncpg.UniqueViolationError:
        return await _replay(database, response, account_id, key, user_id)
    if row is None:
        raise HTTPException(422, "insufficient_funds")
    response.headers["Location"] = f"/api/v1/transactions/{id_}/"
    return MovementOutput(
        id=id_,
        kind=kind,
        amount=amount,
        currency=row["currency"],
        source=account_id,
        destination=destination,
        reference=reference,
        created_at=row["created_at"],
        entry={"sequence": row["version"], "amount": -amount, "balance_after": row["balance"]},
    )


async def _replay(
    database: asyncpg.Connection, response: Response, account_id: UUID, key: str, user_id: UUID
) -> MovementOutput:
    row = await database.fetchrow(REPLAY, account_id, key, user_id)
    response.headers["Idempotent-Replayed"] = "true"
    return MovementOutput(
        source=row["source_id"],
        destination=row["destination_id"],
        entry={"sequence": row["sequence"], "amount": -row["amount"], "balance_after": row["balance_after"]},
        **{name: row[name] for name in ("id", "kind", "amount", "currency", "reference", "created_at")},
    )


@app.get("/api/v1/accounts/{account_id}/")
async def account(account_id: UUID, user_id: Caller, database: Database) -> AccountOutput:
    row = await database.fetchrow(ACCOUNT, account_id, user_id)
    if row is None:
        raise HTTPException(404)
    return AccountOutput(**row)


@app.get("/api/v1/accounts/{account_id}/transactions/")
async def statement(
    request: Request, account_id: UUID, user_id: Caller, database: Database, limit: int = 50, cursor: int = 2**62
) -> PageOutput:
    if not await database.fetchval(OWNS, account_id, user_id):
        raise HTTPException(404)
    rows = await database.fetch(STATEMENT, account_id, cursor, limit + 1)
    lines = rows[:limit]
    following = f"{request.url.replace(query='')}?cursor={lines[-1]['sequence']}" if len(rows) > limit else None
    return PageOutput(next=following, previous=None, results=[dict(line) for line in lines])


@app.post("/api/token/")
async def log_in(body: LogInInput, database: Database) -> TokenOutput:
    row = await database.fetchrow(CUSTOMER, body.username)
    try:
        # In a thread, or the hash would stop the loop.
        await asyncio.to_thread(HASHER.verify, row["password"], body.password)
    except argon2.exceptions.VerifyMismatchError:
        raise HTTPException(400, "invalid_credentials") from None
    key, expires_at = secrets.token_urlsafe(32), datetime.now(UTC) + timedelta(hours=10)
    await database.execute(ISSUE, hashlib.sha256(key.encode()).digest(), row["id"], expires_at)
    return TokenOutput(token=key, expires_at=expires_at)


@app.get("/livez/")
async def alive() -> dict[str, str]:
    return {}
