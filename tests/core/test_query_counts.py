"""How many SQL statements each operation sends: exactly so many, however many rows there are.

A statement more is a round trip more in every request, or in a list one more for each row. BEGIN, SAVEPOINT and their ends
aside, which depend on the test's own transaction.
"""

import re
from dataclasses import dataclass

import pytest
import yaml
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.ledger.models import Account
from tests.factories import AccountFactory, UserFactory, deposit, token_of
from tests.support.endpoints import ENDPOINTS, ApiWorld
from tests.support.paths import ROOT

pytestmark = pytest.mark.no_cover

TRANSACTION_CONTROL = re.compile(r"(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)\b")


@dataclass(frozen=True)
class Operation:
    """A request, and the statements that it sends after the one that finds the caller by the token."""

    statements: int
    method: str = "POST"
    path: str = ""
    door: str = ""

    def send(self, world: ApiWorld):
        if self.door:
            return world.call(self.door)
        return world.send(self.method, self.path)


ACCOUNT = "/api/v1/accounts/{account}/"
OPERATIONS = {
    "token_create": Operation(7, door="log-in"),
    "token_revoke": Operation(1, "DELETE", "/api/token/"),
    "user_register": Operation(2, door="sign-up"),
    "user_me": Operation(0, "GET", "/api/v1/users/me/"),
    "user_change_password": Operation(4, door="password"),
    "account_list": Operation(1, "GET", "/api/v1/accounts/"),
    # The key's mark, the row, and the row under the key.
    "account_open": Operation(3, door="open"),
    "account_retrieve": Operation(1, "GET", ACCOUNT),
    "account_rename": Operation(2, door="rename"),
    "account_close": Operation(3, door="close"),
    "account_deposit": Operation(1, door="deposit"),
    "account_withdraw": Operation(1, door="withdrawal"),
    "account_transfer": Operation(1, door="transfer"),
    "account_statement": Operation(2, "GET", f"{ACCOUNT}transactions/"),
    "transaction_retrieve": Operation(2, "GET", "/api/v1/transactions/{transaction}/"),
    "transaction_reverse": Operation(4, door="reversal"),
}
ANONYMOUS = {"token_create", "user_register"}


def test_every_operation_of_the_api_is_counted():
    document = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())
    documented = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}

    assert OPERATIONS.keys() == documented
    assert {operation.door for operation in OPERATIONS.values()} - {""} == ENDPOINTS.keys()


@pytest.mark.django_db
@pytest.mark.parametrize("rows", [1, 30])
@pytest.mark.parametrize("name", OPERATIONS)
def test_sends_as_many_statements_as_it_says(name, rows):
    operation, world = OPERATIONS[name], ApiWorld()
    account = Account.objects.get(pk=world.names["account"])
    for _ in range(rows - 1):
        AccountFactory(owner=account.owner)
        deposit(account, "1.00")
        UserFactory()
    for _ in range(min(rows, 8)):
        token_of(account.owner)

    with CaptureQueriesContext(connection) as captured:
        response = operation.send(world)

    assert response.status_code in {200, 201, 204}, response.content
    if name in {"account_list", "account_statement"}:
        assert len(response.json()["results"]) >= rows
    sent = [query["sql"] for query in captured if not TRANSACTION_CONTROL.match(query["sql"])]
    authentication = [] if name in ANONYMOUS else sent[:1]
    assert all("users_token" in statement for statement in authentication)
    assert len(sent) - len(authentication) == operation.statements, "\n".join(sent)
