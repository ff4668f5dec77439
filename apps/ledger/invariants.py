"""The ledger's invariants: eleven sentences that must be true of the books, each with an SQL query for its violations.

Every query yields one row for each violation: `subject` (the id of the wrong row), `detail` (a sentence), `discrepancy` (how
much, to rank by) and `at` (when, to order by). `%(accounts)s` is null for the whole ledger or an array of accounts' ids.

Longer than 250 lines because it is a list: each invariant can be read by itself, and `verification` runs them.
Sources: Formance's and Blnk's fuzz invariants, TigerBeetle's assertions, pgledger. `docs/ledger/proofs.md` describes how the
queries are shown to find what they look for.
"""

from dataclasses import dataclass

OF_ACCOUNT = "(%(accounts)s::uuid[] IS NULL OR account.id = ANY(%(accounts)s))"
OF_ENTRY = "(%(accounts)s::uuid[] IS NULL OR entry.account_id = ANY(%(accounts)s))"
OF_TRANSACTION = (
    "(%(accounts)s::uuid[] IS NULL OR transaction.account_id = ANY(%(accounts)s)"
    " OR transaction.source_id = ANY(%(accounts)s) OR transaction.destination_id = ANY(%(accounts)s))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariant:
    """A sentence that must be true, and the query for its violations."""

    id: str
    sentence: str
    violations: str
    # Holds for the whole ledger only, not for a choice of accounts.
    is_global: bool = False


BALANCE_IS_SUM = Invariant(
    id="I1",
    sentence="Each balance is the sum of its account's entries.",
    violations=f"""
        SELECT account.id::text AS subject, account.created_at AS at,
               concat('balance ', account.balance, ', entries sum to ', COALESCE(total, 0)) AS detail,
               abs(account.balance - COALESCE(total, 0)) AS discrepancy
        FROM ledger_account AS account
        LEFT JOIN (SELECT account_id, sum(amount) AS total FROM ledger_entry GROUP BY account_id) AS entries
            ON entries.account_id = account.id
        WHERE {OF_ACCOUNT} AND account.balance <> COALESCE(total, 0)
    """,
)
RUNNING_BALANCE = Invariant(
    id="I2",
    sentence="Each entry's balance is the one before plus its amount; the first starts from zero.",
    violations=f"""
        SELECT id::text AS subject, created_at AS at,
               concat('account ', account_id, ', sequence ', sequence, ': ',
                      before, ' + ', amount, ' is not ', balance_after) AS detail,
               abs(balance_after - before - amount) AS discrepancy
        FROM (
            SELECT *, COALESCE(lag(balance_after) OVER (PARTITION BY account_id ORDER BY sequence), 0) AS before
            FROM ledger_entry AS entry WHERE {OF_ENTRY}
        ) AS entry
        WHERE balance_after <> before + amount
    """,
)
SEQUENCE = Invariant(
    id="I3",
    sentence="Each account's entries count 1, 2, 3 … without gaps up to its version.",
    violations=f"""
        SELECT id::text AS subject, created_at AS at,
               concat('account ', account_id, ': sequence ', sequence, ' where ', due, ' was due') AS detail,
               abs(sequence - due) AS discrepancy
        FROM (
            SELECT *, row_number() OVER (PARTITION BY account_id ORDER BY sequence) AS due
            FROM ledger_entry AS entry WHERE {OF_ENTRY}
        ) AS entry
        WHERE sequence <> due
        UNION ALL
        SELECT account.id::text, account.created_at,
               concat('version ', account.version, ', ', COALESCE(number, 0), ' entries'),
               abs(account.version - COALESCE(number, 0))
        FROM ledger_account AS account
        LEFT JOIN (SELECT account_id, count(*) AS number FROM ledger_entry GROUP BY account_id) AS entries
            ON entries.account_id = account.id
        WHERE {OF_ACCOUNT} AND account.version <> COALESCE(number, 0)
    """,
)
NEVER_NEGATIVE = Invariant(
    id="I4",
    sentence="No balance is negative, or ever was.",
    violations=f"""
        SELECT account.id::text AS subject, account.created_at AS at, concat('balance ', account.balance) AS detail,
               -account.balance AS discrepancy
        FROM ledger_account AS account
        WHERE {OF_ACCOUNT} AND account.balance < 0
        UNION ALL
        SELECT entry.id::text, entry.created_at,
               concat('account ', account_id, ', sequence ', sequence, ': balance ', balance_after), -balance_after
        FROM ledger_entry AS entry
        WHERE {OF_ENTRY} AND balance_after < 0
    """,
)
LEGS = Invariant(
    id="I5",
    sentence="A posted transaction has one entry for each of its sides, of its amount; a reversal mirrors its original.",
    violations=f"""
        SELECT transaction.id::text AS subject, transaction.created_at AS at,
               concat(transaction.kind, ' of ', transaction.amount, ': ',
                      count(entry.id), ' entries, sum ', COALESCE(sum(entry.amount), 0)) AS detail,
               GREATEST(abs(COALESCE(sum(entry.amount), 0) - transaction.amount
                            * ((destination_id IS NOT NULL)::int - (source_id IS NOT NULL)::int)), 0.0001) AS discrepancy
        FROM ledger_transaction AS transaction
        LEFT JOIN ledger_entry AS entry ON entry.transaction_id = transaction.id
        WHERE {OF_TRANSACTION} AND status = 'posted'
        GROUP BY transaction.account_id, transaction.id
        HAVING count(entry.id) <> (source_id IS NOT NULL)::int + (destination_id IS NOT NULL)::int
            OR count(*) FILTER (WHERE entry.account_id = source_id AND entry.amount = -transaction.amount)
                <> (source_id IS NOT NULL)::int
            OR count(*) FILTER (WHERE entry.account_id = destination_id AND entry.amount = transaction.amount)
                <> (destination_id IS NOT NULL)::int
            OR CASE transaction.kind
                WHEN 'deposit' THEN source_id IS NOT NULL OR destination_id IS NULL
                WHEN 'withdrawal' THEN source_id IS NULL OR destination_id IS NOT NULL
                WHEN 'transfer' THEN source_id IS NULL OR destination_id IS NULL OR source_id = destination_id
                WHEN 'reversal' THEN reverses_id IS NULL
                ELSE true
            END
        UNION ALL
        SELECT transaction.id::text, transaction.created_at,
               concat('reverses ', original.status, ' ', original.kind, ' ', original.id,
                      ' of ', original.amount, ' by ', transaction.amount),
               GREATEST(abs(transaction.amount - original.amount), 0.0001)
        FROM ledger_transaction AS transaction
        JOIN ledger_transaction AS original ON original.id = transaction.reverses_id
        WHERE {OF_TRANSACTION} AND transaction.status = 'posted' AND (
            transaction.kind <> 'reversal' OR original.kind = 'reversal' OR original.status <> 'posted'
            OR (transaction.source_id, transaction.destination_id, transaction.amount, transaction.currency,
                transaction.account_id)
                IS DISTINCT FROM
               (original.destination_id, original.source_id, original.amount, original.currency, original.account_id)
        )
    """,
)
DECLINED = Invariant(
    id="I6",
    sentence="A declined transaction has a decline code and no entries; a posted one has no decline code.",
    violations=f"""
        SELECT transaction.id::text AS subject, transaction.created_at AS at,
               concat(status, ', decline code "', decline_code, '", ', count(entry.id), ' entries') AS detail,
               GREATEST(sum(abs(entry.amount)), 0.0001) AS discrepancy
        FROM ledger_transaction AS transaction
        LEFT JOIN ledger_entry AS entry ON entry.transaction_id = transaction.id
        WHERE {OF_TRANSACTION} AND (status <> 'posted' OR decline_code <> '')
        GROUP BY transaction.account_id, transaction.id
        HAVING count(entry.id) > 0 OR status <> 'declined' OR decline_code = ''
    """,
)
CONSERVATION = Invariant(
    id="I7",
    sentence="In each currency the balances sum to what came in less what went out.",
    is_global=True,
    violations="""
        SELECT currency AS subject, NULL::timestamptz AS at,
               concat('balances sum to ', held, ', in less out is ', flowed) AS detail, abs(held - flowed) AS discrepancy
        FROM (
            SELECT currency, sum(held) AS held, sum(flowed) AS flowed
            FROM (
                SELECT currency, balance AS held, 0 AS flowed FROM ledger_account
                UNION ALL
                SELECT currency, 0, amount * ((source_id IS NULL)::int - (destination_id IS NULL)::int)
                FROM ledger_transaction WHERE status = 'posted'
            ) AS money
            GROUP BY currency
        ) AS sums
        WHERE held <> flowed
    """,
)
AGREEMENT = Invariant(
    id="I8",
    sentence="Entries, their accounts and their transactions agree on sides, currency, kind and reference.",
    violations=f"""
        SELECT entry.id::text AS subject, entry.created_at AS at,
               concat(entry.kind, ' on account ', account.id, ' in ', account.currency, ', transaction ', transaction.id,
                      ' is a ', transaction.kind, ' in ', transaction.currency) AS detail,
               abs(entry.amount) AS discrepancy
        FROM ledger_entry AS entry
        LEFT JOIN ledger_account AS account ON account.id = entry.account_id
        LEFT JOIN ledger_transaction AS transaction ON transaction.id = entry.transaction_id
        WHERE {OF_ENTRY} AND (
            account.id IS NULL OR transaction.id IS NULL OR account.currency <> transaction.currency
            OR (entry.kind, entry.reference) <> (transaction.kind, transaction.reference)
            OR (account.id = transaction.source_id OR account.id = transaction.destination_id) IS NOT TRUE
        )
        UNION ALL
        SELECT transaction.id::text, transaction.created_at,
               concat('recorded under account ', account_id, ', which it does not touch'), transaction.amount
        FROM ledger_transaction AS transaction
        WHERE {OF_TRANSACTION} AND (account_id = source_id OR account_id = destination_id) IS NOT TRUE
    """,
)
ONCE = Invariant(
    id="I9",
    sentence="A key names one transaction of its account, and a transaction is reversed at most once.",
    violations=f"""
        SELECT account_id::text AS subject, min(created_at) AS at,
               concat('key "', idempotency_key, '" names ', count(*), ' transactions') AS detail,
               sum(amount) - min(amount) AS discrepancy
        FROM ledger_transaction AS transaction
        WHERE {OF_TRANSACTION}
        GROUP BY account_id, idempotency_key
        HAVING count(*) > 1
        UNION ALL
        SELECT reverses_id::text, min(created_at), concat('reversed ', count(*), ' times'), sum(amount) - min(amount)
        FROM ledger_transaction AS transaction
        WHERE {OF_TRANSACTION} AND reverses_id IS NOT NULL AND status = 'posted'
        GROUP BY reverses_id
        HAVING count(*) > 1
    """,
)
CLOSED = Invariant(
    id="I10",
    sentence="A closed account is empty, has a closing time, and no entry after it.",
    violations=f"""
        SELECT account.id::text AS subject, COALESCE(closed_at, account.created_at) AS at,
               concat(status, ', closed at ', closed_at, ', balance ', balance, ', last entry at ', last) AS detail,
               GREATEST(abs(balance), 0.0001) AS discrepancy
        FROM ledger_account AS account
        LEFT JOIN (SELECT account_id, max(created_at) AS last FROM ledger_entry GROUP BY account_id) AS entries
            ON entries.account_id = account.id
        WHERE {OF_ACCOUNT} AND CASE status
            WHEN 'open' THEN closed_at IS NOT NULL
            ELSE balance <> 0 OR closed_at IS NULL OR last > closed_at
        END
    """,
)
GUARDS = Invariant(
    id="I11",
    sentence="Every constraint and trigger that guards the books is there, valid and enforced.",
    violations="""
        SELECT expected.name AS subject, NULL::timestamptz AS at,
               concat(expected.kind, ' of ', expected.owner, ': ', COALESCE(found.state, 'missing')) AS detail,
               1 AS discrepancy
        FROM unnest(%(guard_kinds)s::text[], %(guard_tables)s::text[], %(guard_names)s::text[])
            AS expected (kind, owner, name)
        LEFT JOIN (
            SELECT CASE contype WHEN 'c' THEN 'check' WHEN 'f' THEN 'foreign key' ELSE 'primary key' END AS kind,
                   conrelid, CASE contype WHEN 'c' THEN conname ELSE (
                       SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute
                       WHERE attrelid = conrelid AND attnum = ANY(conkey)) END AS name,
                   CASE WHEN NOT convalidated THEN 'not validated'
                        -- The column is new in PostgreSQL 18, and absent from older servers.
                        WHEN to_jsonb(pg_constraint) ->> 'conenforced' = 'false' THEN 'not enforced'
                        ELSE 'ok' END AS state
            FROM pg_constraint WHERE contype IN ('c', 'f', 'p')
            UNION ALL
            SELECT 'unique', indrelid, relname,
                   CASE WHEN NOT indisunique THEN 'not unique' WHEN NOT (indisvalid AND indislive) THEN 'not valid'
                        ELSE 'ok' END
            FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
            UNION ALL
            SELECT 'append-only trigger', tgrelid, tgname,
                   CASE WHEN tgenabled NOT IN ('O', 'A') THEN 'disabled'
                        -- Each row (1), before (2), on delete (8) and update (16): pg_trigger.h.
                        WHEN tgtype & 27 <> 27 OR tgqual IS NOT NULL THEN 'changed'
                        ELSE 'ok' END
            FROM pg_trigger WHERE NOT tgisinternal
        ) AS found
            ON found.kind = expected.kind AND found.conrelid = to_regclass(expected.owner) AND found.name = expected.name
        WHERE found.state IS DISTINCT FROM 'ok'
    """,
)
INVARIANTS = (
    BALANCE_IS_SUM,
    RUNNING_BALANCE,
    SEQUENCE,
    NEVER_NEGATIVE,
    LEGS,
    DECLINED,
    CONSERVATION,
    AGREEMENT,
    ONCE,
    CLOSED,
    GUARDS,
)
