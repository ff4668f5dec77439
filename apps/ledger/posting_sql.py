"""The posting statement: one SQL statement that decides a money command and carries it out.

In one round trip it locks the accounts, checks owner, key, currency, status and cover, moves the balances and writes the
transaction (posted or declined) and its entries. It returns one row for each entry, or one without an entry where none
was written, or none where the account is not the owner's. `posting` fills in the parameters and reads the verdict.

Locks: the rows of the accounts, in primary-key order.

Note [Replay after lock]
The key is looked up in the statement's snapshot, which is older than the lock. Two equal requests at once therefore both
miss it; the second then violates the unique constraint, which undoes its whole statement, and `posting` reads the first
one's row.

Note [Fresh rows under the lock]
`FOR NO KEY UPDATE` waits and then returns the newest version of a row, although the snapshot is older (READ COMMITTED,
PostgreSQL documentation §13.2.1). So the verdict is reached on the values that the UPDATE will meet, and the reason of a
decline is as exact as the decision. NO KEY: foreign key checks of other commands need not wait.

Note [New values from the lock]
The UPDATE's own scan meets the snapshot's version of a row first, and PostgreSQL checks the CHECK constraints of the row
that it would make of that version before it goes on to the newest one (ExecUpdateAct in nodeModifyTable.c).
`balance = balance - amount` would therefore be refused for a balance that was too small before a deposit for which the
lock has waited. Hence `legs` computes the new values from the locked row.
"""

from typing import Final

from apps.core.idempotency import MARK
from apps.database.prepared import compact

POSTING_COLUMNS: Final = (
    "decided_at", "currency", "key_is_used", "destination_is_missing", "amount_is_inexact", "decline_code",
    "id", "account_id", "sequence", "amount", "balance_after",
)  # fmt: skip  # as in the statement's last SELECT

# language=PostgreSQL  (editors highlight the string)
POSTING_SQL: Final = compact(f"""
WITH
-- Marks the key as being worked on; `apps.core.contention.lock_timeout_error` looks for the mark.
marked AS MATERIALIZED (
    SELECT {MARK}
),
-- In primary-key order, so commands on the same accounts never deadlock. See Note [Fresh rows under the lock].
locked AS MATERIALIZED (
    SELECT account.id, account.currency, account.status, account.balance, account.version
    FROM ledger_account AS account, marked
    WHERE account.id IN (%(source)s::uuid, %(destination)s::uuid)
      AND (%(owner)s::uuid IS NULL OR EXISTS (
          SELECT 1 FROM ledger_account WHERE id = %(account)s::uuid AND owner_id = %(owner)s::uuid))
    ORDER BY account.id
    FOR NO KEY UPDATE OF account
),
verdict AS MATERIALIZED (
    SELECT
        clock_timestamp() AS decided_at,
        account.currency,
        EXISTS (
            SELECT 1 FROM ledger_transaction
            WHERE account_id = %(account)s::uuid AND idempotency_key = %(key)s
        ) AS key_is_used,
        %(destination)s::uuid IS NOT NULL AND destination.id IS NULL AS destination_is_missing,
        %(currency)s::text IS NULL
            AND %(places)s > COALESCE((%(unusual_exponents)s::jsonb ->> account.currency)::int, %(default_exponent)s)
            AS amount_is_inexact,
        CASE
            WHEN original.status = 'declined' OR original.kind = 'reversal' THEN 'not_reversible'
            WHEN EXISTS (
                SELECT 1 FROM ledger_transaction
                WHERE account_id = %(account)s::uuid AND reverses_id = original.id AND status = 'posted'
            ) THEN 'already_reversed'
            WHEN account.currency <> %(currency)s::text OR source.currency <> destination.currency
                THEN 'currency_mismatch'
            WHEN source.status = 'closed' OR destination.status = 'closed' THEN 'account_closed'
            WHEN source.balance < %(amount)s THEN 'insufficient_funds'
            WHEN destination.balance + %(amount)s > %(max_balance)s THEN 'balance_limit_exceeded'
            ELSE ''
        END AS decline_code
    FROM locked AS account
    LEFT JOIN locked AS source ON source.id = %(source)s::uuid
    LEFT JOIN locked AS destination ON destination.id = %(destination)s::uuid
    LEFT JOIN ledger_transaction AS original
        ON original.id = %(reverses)s::uuid AND original.account_id = %(account)s::uuid
    WHERE account.id = %(account)s::uuid
),
-- No ON CONFLICT: a key that is taken must undo the whole statement. See Note [Replay after lock].
recorded AS (
    INSERT INTO ledger_transaction (
        id, account_id, idempotency_key, kind, status, decline_code, source_id, destination_id,
        amount, currency, reference, reverses_id, created_by_id, created_at
    )
    SELECT
        %(id)s, %(account)s::uuid, %(key)s, %(kind)s, CASE decline_code WHEN '' THEN 'posted' ELSE 'declined' END,
        decline_code, %(source)s::uuid, %(destination)s::uuid,
        %(amount)s, COALESCE(%(currency)s::text, currency), %(reference)s, %(reverses)s::uuid, %(actor)s, decided_at
    FROM verdict
    WHERE NOT (key_is_used OR destination_is_missing OR amount_is_inexact)
    RETURNING id, kind, status, reference, created_at
),
-- See Note [New values from the lock].
legs AS (
    SELECT leg.id, leg.account_id, leg.amount, locked.balance + leg.amount AS balance_after,
           locked.version + 1 AS sequence, recorded.id AS transaction_id, recorded.kind, recorded.reference,
           recorded.created_at
    FROM recorded
    CROSS JOIN (VALUES
        (%(source_entry)s::uuid, %(source)s::uuid, -%(amount)s::numeric),
        (%(destination_entry)s::uuid, %(destination)s::uuid, %(amount)s::numeric)
    ) AS leg (id, account_id, amount)
    JOIN locked ON locked.id = leg.account_id
    WHERE recorded.status = 'posted'
),
moved AS (
    UPDATE ledger_account AS account
    SET balance = legs.balance_after, version = legs.sequence
    FROM legs
    WHERE account.id = legs.account_id
    RETURNING legs.*
),
booked AS (
    INSERT INTO ledger_entry (
        id, transaction_id, account_id, sequence, kind, amount, balance_after, reference, created_at
    )
    SELECT id, transaction_id, account_id, sequence, kind, amount, balance_after, reference, created_at FROM moved
    RETURNING id, account_id, sequence, amount, balance_after
)
SELECT
    verdict.decided_at, verdict.currency, verdict.key_is_used, verdict.destination_is_missing,
    verdict.amount_is_inexact, verdict.decline_code,
    booked.id, booked.account_id, booked.sequence, booked.amount, booked.balance_after
FROM verdict LEFT JOIN booked ON true
""")  # noqa: S608  the only insertion is a constant
