"""Idempotency keys: the `Idempotency-Key` header, its errors, and the mark of a key in use.

An operation stores the key in a column of the row that it creates, under a unique constraint with the key's scope (an owner,
an account): so the key commits with its effect and never expires. The same key with the same command returns the same
response, marked `Idempotent-Replayed`; the same key with another command is refused.

Note [One line, one key]
A header on two lines reaches the application as one value, joined by a comma (RFC 9110 §5.3). If a key could contain a
comma, a request with the key twice and its retry with the key once would be two commands. So a key has no comma.

Note [Advisory lock as a mark]
A key that is being worked on cannot be found in its row, which is not committed. Its transaction therefore takes a shared
advisory lock on a hash of scope and key, which conflicts with nothing and ends with the transaction. pg_locks shows a
64-bit advisory lock in two columns: `classid` has the high 32 bits, `objid` the low ones, and `objsubid` is 1 (PostgreSQL
documentation of pg_locks). Hence the shifts and masks in `is_running`. Trying to take the lock exclusively would need none
of them, but would hide the marks of requests that start at that moment.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Final

from django.db import connection

from apps.core.errors import DomainError, ErrorKind

HEADER: Final = "Idempotency-Key"
MAX_LENGTH: Final = 255
# Visible ASCII but the comma. See Note [One line, one key].
CHARACTERS: Final = "[!-+.-~-]"
_KEY: Final = re.compile(f"{CHARACTERS}{{1,{MAX_LENGTH}}}", re.ASCII)

MARK: Final = "pg_try_advisory_xact_lock_shared(hashtextextended(%(scope)s || ' ' || %(key)s, 0))"
"""Marks a key as in use until the transaction ends, for `is_running`.

Locks: an advisory lock of the transaction, shared, so that it never waits.
"""


class IdempotencyKeyMissing(DomainError):
    """The operation requires a key, and the request has none."""

    kind = ErrorKind.INVALID
    code = "idempotency_key_missing"
    detail = "This needs an Idempotency-Key header."


class IdempotencyKeyInvalid(DomainError):
    """The header is not one valid key. See Note [One line, one key]."""

    kind = ErrorKind.INVALID
    code = "idempotency_key_invalid"
    detail = f"An Idempotency-Key has 1 to {MAX_LENGTH} visible ASCII characters, no comma, and one line."


class IdempotencyKeyReused(DomainError):
    """The key was used for another command, which stands. The client has a bug: each command needs its own key."""

    kind = ErrorKind.REFUSED
    code = "idempotency_key_reused"
    detail = "This Idempotency-Key was used for another request."


class IdempotencyKeyInProgress(DomainError):
    """A request with the same key is still running; a later retry replays its response."""

    kind = ErrorKind.BUSY
    code = "idempotency_key_in_progress"
    detail = "A request with this Idempotency-Key is still being processed."
    retry_after_s = 1


def optional_key(headers: Mapping[str, str]) -> str | None:
    """Return the request's key, or None. Raises: IdempotencyKeyInvalid."""
    key = headers.get(HEADER)
    if key is not None and not _KEY.fullmatch(key):
        raise IdempotencyKeyInvalid
    return key


def required_key(headers: Mapping[str, str]) -> str:
    """Return the request's key. Raises: IdempotencyKeyMissing, IdempotencyKeyInvalid."""
    key = optional_key(headers)
    if key is None:
        raise IdempotencyKeyMissing
    return key


def replay_header(*, replayed: bool) -> dict[str, str]:
    """Return the header that marks a replay, if it is one."""
    return {"Idempotent-Replayed": "true"} if replayed else {}


def fingerprint(command: Mapping[str, object]) -> str:
    """Return 64 hexadecimal digits that identify a validated command whose row does not keep all of its fields.

    They are stored for good: leave out a field that a later release adds to the command while it has its default.
    """
    canonical = json.dumps(command, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def mark(*, scope: object, key: str) -> None:
    """Mark a key as in use until the open transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {MARK}", {"scope": str(scope), "key": key})


def is_running(*, scope: object, key: str) -> bool:
    """Return whether another connection is at work under the key. See Note [Advisory lock as a mark]."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT EXISTS (
                SELECT 1 FROM pg_locks, hashtextextended(%(scope)s || ' ' || %(key)s, 0) AS mark
                WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                  AND classid = ((mark >> 32) & 4294967295)::oid AND objid = (mark & 4294967295)::oid AND objsubid = 1
                  AND pid <> pg_backend_pid()
            )
            """,
            {"scope": str(scope), "key": key},
        )
        return bool(cursor.fetchone()[0])
