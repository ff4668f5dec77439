"""Operations of the ledger: accounts, money, statements."""

from apps.ledger.models import Account
from apps.users.models import User
from tests.ledger.factories import AccountFactory, deposit
from tests.support.operations import AppOperations, BadValues, Endpoint, Operation

ACCOUNTS = "/api/v1/accounts/"
ACCOUNT = f"{ACCOUNTS}{{account}}/"
STATEMENT = f"{ACCOUNT}transactions/"
TRANSACTION = "/api/v1/transactions/{transaction}/"
MONEY = ("deposit", "withdrawal", "transfer")

CURRENCIES = [
    None, "", "usd", " USD", "USD ", "US", "USDX", "XAU", "XXX", "840", 840, 1.5, True, [], {},
    "\uff35\uff33\uff24", "USD\x00",
]  # fmt: skip  # a table: many short values to a line
DESTINATIONS = [
    None, "", 1, 1.5, True, [], {}, "x", "018f", "{empty_bare}", "{{empty}}", "urn:uuid:{empty}", " {empty}", "{empty} ",
    "{empty}\n", "{empty}\x00", "\u0661" * 32, "018f0000-0000-7000-8000-00000000000\u0661",
    "g" * 8 + "-0000-7000-8000-000000000000",
]  # fmt: skip  # a table: many short values to a line
AMOUNTS = {
    "invalid": [
        "", " ", "abc", "-1", "-0", "-0.00", "+5", "5.", ".5", ".", "1..0", "1.0.0", "00", "01", "0001.00", "1e3",
        "1E+5", "1e-2", "0x10", "0b1", "0o7", "1_000", "1,000", "1,00", "1.000,00", "1'000", "1 000", " 5", "5 ",
        "5\n", "\t5", "5\r\n", "5\x00", "\x005", "NaN", "nan", "sNaN", "Infinity", "-Infinity", "inf",
        "\u0661\u0662\u0663", "\uff11\uff12", "\u0967.\u0966\u0966", "\u00b2", "\u2460", "\u2155", "\u4e09",
        "\u06f1", "1\u0661", "1.\u0660", "1\u00a0000", "\u22121", "1\u066b5", "$5", "5 USD", "USD5", "5%", "1/2",
        "1+1", "(5)", "5f", "5d", "5L", "true", "null", "None", "0.1e1", "1;DROP TABLE ledger_entry", "' OR 1=1 --",
        "${7*7}", "{{7*7}}", "9" * 16, "9" * 1000, "0" * 1000, "0." + "0" * 20 + " ", "\ud800", "\ufeff5", "5\u200b",
        "\u202e5", True, False, [], ["5"], {}, {"amount": "5"}, 1.5, 1.0, 0.0, -1.5, 1e3, 1e-400, 5e-324, 1e308,
    ],
    "null": [None],
    "min_value": ["0", "0.0", "0.00", "0.0000", 0, -1, -(10**30)],
    "max_decimal_places": ["0.001", "0.00001", "1.00000", "0." + "0" * 1000, "1." + "9" * 10_000],
    "max_value": ["1000000000.01", "1000000001", "999999999999999.9999", 1_000_000_001, 10**15, 10**30, 10**99],
}  # fmt: skip  # a table: many short values to a line
BAD_CURRENCIES = BadValues("currency", CURRENCIES)
BAD_DESTINATIONS = BadValues("destination", DESTINATIONS)
BAD_AMOUNTS = [BadValues("amount", values, code) for code, values in AMOUNTS.items()]

MOMENTS = [
    "", "yesterday", "1", "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z",
    "0000-01-01T00:00:00Z", "0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00", "10000-01-01T00:00:00Z",
    "-0001-01-01T00:00:00Z", "99999999999999999999", "%D9%A2%D9%A0%D9%A2%D9%A6-01-01T00:00:00Z",
    "%EF%BC%92026-01-01T00:00:00Z", "2026-01-01T00:00:00%2B99:99", "2026-01-01T00:00:00Z%00",
    "%202026-01-01T00:00:00Z", "2026-01-01T00:00:00Z%0A", "now", "infinity",
]  # fmt: skip  # a table: many short values to a line
QUERY_AMOUNTS = [
    "", "abc", "-1", "1e3", "NaN", "Infinity", "1_000", "%2B5", "%205", "5%00", "%D9%A1", "%EF%BC%91", "9" * 16, "9" * 3000,
    "0.00001", "1,00", "0x1",
]  # fmt: skip  # a table: many short values to a line
BAD_FILTERS = [
    *(f"{name}={value}" for name in ("created_from", "created_to") for value in MOMENTS),
    *(f"{name}={value}" for name in ("min_amount", "max_amount") for value in QUERY_AMOUNTS),
    *(f"kind={value}" for value in ("", "gift", "DEPOSIT", "deposit%00", "deposit,withdrawal", "deposit%20", "%FF")),
    "currency=USD",
]

STATE_OF_MONEY = frozenset({
    "account_closed", "balance_limit_exceeded", "currency_mismatch", "idempotency_key_reused", "insufficient_funds",
    "max_decimal_places",
})  # fmt: skip  # a table: many short values to a line


def create_objects(owner: User) -> dict[str, str]:
    """Make an account with a hundred dollars, and an empty one."""
    account, empty = AccountFactory.create_batch(2, owner=owner)
    transaction = deposit(account, "100.00").transaction
    return {
        "account": str(account.pk),
        "empty": str(empty.pk),
        "empty_bare": empty.pk.hex,
        "transaction": str(transaction.pk),
    }


def add_rows(owner: User) -> None:
    """Make one more account, and one more entry of the oldest."""
    AccountFactory(owner=owner)
    deposit(Account.objects.filter(owner=owner).earliest("created_at"), "1.00")


def known_values(owner: User) -> dict[str, list[str]]:
    """Make accounts whose amounts have four decimal places, two and none, and deposits to reverse."""
    accounts = [AccountFactory(owner=owner, currency=each, funded="100000") for each in ("CLF", "CLF", "USD", "JPY")]
    ids = [str(account.pk) for account in accounts]
    return {
        "path.account_id": ids,
        "body.destination": ids,
        "path.transaction_id": [str(deposit(accounts[0], "1").transaction.pk) for _ in range(50)],
    }


def money(path: str, body: dict[str, str], *bad_values: BadValues) -> Endpoint:
    """Return the endpoint of a money operation."""
    return Endpoint(
        path,
        body,
        idempotency_key="required",
        text_fields={"reference": 140},
        bad_values=[BAD_CURRENCIES, *BAD_AMOUNTS, *bad_values],
    )


def unchanged(client, monkeypatch):
    place = client.post(ACCOUNTS, {}, content_type="application/json").headers["Location"]
    return 304, client.get(place, headers={"If-None-Match": client.get(place).headers["ETag"]})


def refused_by_the_state(client, monkeypatch):
    place = client.post(ACCOUNTS, {}, content_type="application/json").headers["Location"]
    body, key = {"amount": "1.00"}, {"Idempotency-Key": "k"}
    return 422, client.post(f"{place}withdrawals/", body, content_type="application/json", headers=key)


def somebody_elses(client, monkeypatch):
    return 404, client.get(f"{ACCOUNTS}{AccountFactory().pk}/")


APP = AppOperations(
    access="""
             owner other anonymous revoked expired deactivated staff session
accounts     GET      200   200   401       401     401     401         200   401
accounts     POST     201   201   401       401     401     401         201   401
account      GET      200   404   401       401     401     401         404   401
account      PATCH    200   404   401       401     401     401         404   401
close        POST     422   404   401       401     401     401         404   401
deposits     POST     201   404   401       401     401     401         404   401
withdrawals  POST     201   404   401       401     401     401         404   401
transfers    POST     201   404   401       401     401     401         404   401
statement    GET      200   404   401       401     401     401         404   401
transaction  GET      200   404   401       401     401     401         200   401
reversal     POST     403   404   401       401     401     401         201   401
""",
    endpoints={
        "open": Endpoint(
            ACCOUNTS,
            {"currency": "EUR", "name": "Holiday"},
            optional=True,
            idempotency_key="optional",
            text_fields={"name": 100},
            bad_values=[BAD_CURRENCIES],
        ),
        "rename": Endpoint(ACCOUNT, {"name": "Holiday"}, method="PATCH", text_fields={"name": 100}),
        "close": Endpoint(f"{ACCOUNTS}{{empty}}/close/", {}, optional=True),
        "deposit": money(f"{ACCOUNT}deposits/", {"amount": "1.00", "currency": "USD", "reference": "x"}),
        "withdrawal": money(f"{ACCOUNT}withdrawals/", {"amount": "1.00", "reference": "x"}),
        "transfer": money(f"{ACCOUNT}transfers/", {"amount": "1.00", "destination": "{empty}"}, BAD_DESTINATIONS),
        "reversal": Endpoint(
            f"{TRANSACTION}reversal/",
            {"reference": "x"},
            who="staff",
            optional=True,
            idempotency_key="required",
            text_fields={"reference": 140},
        ),
    },
    operations={
        "account_list": Operation(
            1,
            "GET",
            ACCOUNTS,
            is_list=True,
            is_prepared=True,
            own_parameters=["kind=deposit"],
            refusals=frozenset({"invalid_cursor"}),
        ),
        # The key's mark, the row, and the row under the key.
        "account_open": Operation(3, endpoint="open", refusals=frozenset({"idempotency_key_reused"})),
        "account_retrieve": Operation(1, "GET", ACCOUNT, is_prepared=True, refusals=frozenset({"precondition_failed"})),
        "account_rename": Operation(2, endpoint="rename", refusals=frozenset({"precondition_failed"})),
        "account_close": Operation(3, endpoint="close", refusals=frozenset({"account_not_empty"})),
        "account_deposit": Operation(1, endpoint="deposit", is_prepared=True, refusals=STATE_OF_MONEY),
        "account_withdraw": Operation(1, endpoint="withdrawal", is_prepared=True, refusals=STATE_OF_MONEY),
        "account_transfer": Operation(
            1,
            endpoint="transfer",
            is_prepared=True,
            refusals=STATE_OF_MONEY | {"same_account", "destination_invalid"},
        ),
        "account_statement": Operation(
            1,
            "GET",
            STATEMENT,
            is_list=True,
            is_prepared=True,
            own_parameters=BAD_FILTERS,
            refusals=frozenset({"invalid_cursor"}),
        ),
        "transaction_retrieve": Operation(2, "GET", TRANSACTION),
        "transaction_reverse": Operation(
            4, endpoint="reversal", refusals=STATE_OF_MONEY | {"already_reversed", "not_reversible"}
        ),
    },
    create_objects=create_objects,
    add_rows=add_rows,
    known_values=known_values,
    answers={
        "unchanged": unchanged,
        "refused_by_the_state": refused_by_the_state,
        "somebody_elses": somebody_elses,
    },
)
