"""Prepared reads: one account, a user's accounts and a statement, from prepared statements straight to what the API returns.

They are most of what clients send. What a serializer would return of the same rows is the same, byte for byte
(tests/ledger/test_prepared_reads.py).
"""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from psycopg.types.numeric import Int8

from apps.core.errors import NotFound
from apps.core.money.amounts import format_stored
from apps.database import prepared
from apps.database.keyset import KeysetList
from apps.database.prepared import Row

# As Python's isoformat(), with Z; without the six zeros by `_moment`.
MOMENT: Final = """to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""

ACCOUNT: Final = f"""
SELECT id::text, name, currency, balance::text, status, version, {MOMENT.format(column="created_at")}
FROM ledger_account
"""  # noqa: S608  the only insertion is a constant
OWN_ACCOUNT: Final = f"{ACCOUNT} WHERE id = %s AND owner_id = %s"
OWN_ACCOUNTS: Final = f"""
{ACCOUNT}
WHERE owner_id = %(owner)s AND id {{beyond}} %(position)s
ORDER BY id {{direction}} LIMIT {{rows}}
"""

# One row without a line where the account has none; no row where the account is not the owner's.
STATEMENT: Final = f"""
SELECT line.*
FROM ledger_account AS account
LEFT JOIN LATERAL (
    SELECT entry.sequence, entry.amount::text, entry.balance_after::text, account.currency, entry.transaction_id::text,
           entry.kind, entry.reference, {MOMENT.format(column="entry.created_at")}
    FROM ledger_entry AS entry
    WHERE entry.account_id = account.id
      AND entry.sequence {{beyond}} %(position)s
      {{filters}}
    ORDER BY entry.sequence {{direction}}
    LIMIT {{rows}}
) AS line ON true
WHERE account.id = %(account)s AND account.owner_id = %(owner)s
ORDER BY line.sequence {{direction}}
"""  # noqa: S608  the only insertion is a constant
# A filter that is not given is not in the text: a plan for all values would not know that `%(kind)s IS NULL OR …` lets all
# pass, and would read the whole account.
FILTERS: Final = {
    "kind": "AND entry.kind = %(kind)s",
    "created_from": "AND entry.created_at >= %(created_from)s",
    "created_to": "AND entry.created_at < %(created_to)s",
    "min_amount": "AND abs(entry.amount) >= %(min_amount)s",
    "max_amount": "AND abs(entry.amount) <= %(max_amount)s",
}


def own_account(owner_id: UUID, account_id: UUID) -> dict[str, Any]:
    """Return an account as `AccountOutput` does. Raises: NotFound if it is not the owner's."""
    rows = prepared.query(OWN_ACCOUNT, (account_id, owner_id))
    if not rows:
        raise NotFound
    return _account(rows[0])


def own_accounts(owner_id: UUID) -> KeysetList:
    """Return a user's accounts by `id`, each as `AccountOutput` does."""
    return KeysetList(
        statement=OWN_ACCOUNTS,
        parameters={"owner": owner_id},
        position_type=UUID,
        ends=(UUID(int=0), UUID(int=2**128 - 1)),
        output=lambda rows: [_account(row) for row in rows],
    )


def statement(
    owner_id: UUID, account_id: UUID, filters: Mapping[str, Any], *, using: str, may_be_missing: bool = False
) -> KeysetList:
    """Return an account's entries by `sequence` that pass the filters, each as `StatementLine` does.

    filters: those of `StatementQuery`. may_be_missing: whether an account that is not there is one that is not there yet.
    Raises: NotFound for a page of an account that is not the owner's.
    """

    def lines(rows: list[Row]) -> list[dict[str, Any]]:
        if not rows and not may_be_missing:
            raise NotFound
        return [_line(row) for row in rows if row[0] is not None]

    return KeysetList(
        statement=STATEMENT.replace("{filters}", " ".join(text for name, text in FILTERS.items() if name in filters)),
        parameters={**filters, "account": account_id, "owner": owner_id},
        # Int8: psycopg gives a small number a smaller type, and so another statement.
        position_type=lambda text: Int8(int(text)),
        ends=(Int8(0), Int8(2**63 - 1)),
        output=lines,
        using=using,
    )


def _account(row: Row) -> dict[str, Any]:
    account_id, name, currency, balance, status, version, created_at = row
    return {
        "id": account_id,
        "name": name,
        "currency": currency,
        "balance": format_stored(balance, currency),
        "status": status,
        "version": version,
        "created_at": _moment(created_at),
    }


def _line(row: Row) -> dict[str, Any]:
    sequence, amount, balance_after, currency, transaction_id, kind, reference, created_at = row
    return {
        "sequence": sequence,
        "amount": format_stored(amount, currency),
        "balance_after": format_stored(balance_after, currency),
        "id": transaction_id,
        "kind": kind,
        "reference": reference,
        "created_at": _moment(created_at),
    }


def _moment(text: str) -> str:
    return text.replace(".000000Z", "Z")
