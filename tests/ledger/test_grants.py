"""Grants of the ledger's tables on a real server: the serving role can do its work on the books and no more."""

import uuid

import pytest
from django.core.management import call_command
from django.test import Client
from psycopg import errors
from rest_framework.test import APIClient

from apps.ledger.models import Entry
from apps.users.models import User
from tests.support.password_postgres import APP_ROLE

PASSWORD = "correct horse battery staple"

FORBIDDEN = [
    # What is in the books stays there as it is.
    "UPDATE ledger_entry SET amount = 1",
    "DELETE FROM ledger_entry",
    "TRUNCATE ledger_entry",
    "UPDATE ledger_transaction SET status = 'declined'",
    "DELETE FROM ledger_transaction",
    "TRUNCATE ledger_transaction CASCADE",
    "UPDATE ledger_account SET owner_id = gen_random_uuid()",
    "UPDATE ledger_account SET currency = 'EUR'",
    "UPDATE ledger_account SET idempotency_key = 'mine'",
    "UPDATE ledger_account SET creation_fingerprint = 'mine'",
    "DELETE FROM ledger_account",
    "TRUNCATE ledger_account CASCADE",
    "INSERT INTO ledger_entry SELECT * FROM ledger_entry ON CONFLICT (id) DO UPDATE SET amount = 1",
    "MERGE INTO ledger_entry USING ledger_account a ON a.id = account_id WHEN MATCHED THEN DELETE",
    "DO $$ BEGIN LOCK TABLE ledger_entry IN ACCESS EXCLUSIVE MODE; END $$",
    # Triggers and constraints stay in force.
    "DROP TRIGGER ledger_entry_is_append_only ON ledger_entry",
    "ALTER TABLE ledger_entry DISABLE TRIGGER ALL",
    "ALTER TABLE ledger_entry DISABLE TRIGGER ledger_entry_is_append_only",
    "ALTER TABLE ledger_account DROP CONSTRAINT account_balance_is_never_negative",
    "DROP INDEX entry_sequence_is_used_once_per_account",
    "DROP TABLE ledger_entry",
    "CREATE OR REPLACE FUNCTION ledger_refuse_change_of_entry() RETURNS trigger LANGUAGE sql AS 'SELECT 1'",
    "DROP FUNCTION ledger_refuse_change_of_entry() CASCADE",
    "ALTER FUNCTION ledger_refuse_change_of_entry() RENAME TO harmless",
    "CREATE TRIGGER mine BEFORE INSERT ON ledger_entry FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE RULE mine AS ON INSERT TO ledger_entry DO INSTEAD NOTHING",
    "CREATE VIEW mine AS SELECT * FROM ledger_entry",
    "CREATE INDEX ON ledger_entry (amount)",
    "COPY ledger_account TO PROGRAM 'cat'",
    "COPY ledger_account TO '/tmp/accounts'",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_role_that_serves_may_not(app_role_connection, statement):
    with pytest.raises(errors.InsufficientPrivilege):
        app_role_connection.execute(statement)


def test_its_rights_on_the_books_are_those_that_are_declared(two_role_database):
    with two_role_database.as_owner() as connection:
        rows = connection.execute(
            "SELECT relname, string_agg(privilege_type, ', ' ORDER BY privilege_type) FROM pg_class, aclexplode(relacl)"
            " WHERE relname LIKE 'ledger%%' AND relkind = 'r' AND grantee = %s::regrole GROUP BY relname",
            [APP_ROLE],
        ).fetchall()
        columns = connection.execute(
            "SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute, aclexplode(attacl)"
            " WHERE attrelid = 'ledger_account'::regclass AND grantee = %s::regrole AND privilege_type = 'UPDATE'",
            [APP_ROLE],
        ).fetchone()

    assert dict(rows) == dict.fromkeys(("ledger_entry", "ledger_transaction", "ledger_account"), "INSERT, SELECT")
    assert columns == ("name, balance, version, status, closed_at",)


def test_customers_and_staff_can_do_their_work(as_app_role):
    names = {"username": f"ada-{uuid.uuid4().hex}", "password": PASSWORD}
    client = APIClient()

    def send(status, method, path, body=None, client=client, **headers):
        response = getattr(client, method)(f"/api{path}", body, headers=headers)
        assert response.status_code == status, response.content
        return response.json() if response.content else None

    def money(status, account, verb, **body):
        key = {"idempotency-key": body.pop("key", uuid.uuid4().hex)}
        return send(status, "post", f"/v1/accounts/{account}/{verb}/", body, **key)

    send(201, "post", "/v1/users/", names)
    token = send(200, "post", "/token/", names)["token"]
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    first, second = (send(201, "post", "/v1/accounts/", {"currency": "USD"})["id"] for _ in range(2))
    deposit = money(201, first, "deposits", amount="100.00", key="salary")
    assert money(201, first, "deposits", amount="100.00", key="salary") == deposit
    money(201, first, "withdrawals", amount="25.00")
    money(422, first, "withdrawals", amount="1000.00")
    money(201, first, "transfers", amount="75.00", destination=second)
    send(200, "post", f"/v1/accounts/{first}/close/")
    send(200, "patch", f"/v1/accounts/{first}/", {"name": "Old"})
    opened = [send(201, "post", "/v1/accounts/", {}, **{"idempotency-key": "once"})["id"] for _ in range(2)]
    assert opened[0] == opened[1]
    assert len(send(200, "get", f"/v1/accounts/{first}/transactions/")["results"]) == 3
    transfer = money(201, second, "withdrawals", amount="5.00")
    send(200, "get", f"/v1/transactions/{transfer['id']}/")
    User.objects.filter(username=names["username"]).update(is_staff=True)
    send(201, "post", f"/v1/transactions/{transfer['id']}/reversal/", **{"idempotency-key": "r"})

    assert Entry.objects.count() == 6
    call_command("verify_ledger")
    call_command("housekeeping", "--verify")


def test_the_admin_shows_the_books(as_app_role):
    root = User.objects.create_superuser(f"root-{uuid.uuid4().hex}", "", PASSWORD)
    browser = Client()
    assert browser.post("/admin/login/", {"username": root.username, "password": PASSWORD}).status_code == 302
    for table in ("account", "transaction", "entry"):
        assert browser.get(f"/admin/ledger/{table}/").status_code == 200
