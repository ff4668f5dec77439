"""Statement counts: each operation sends exactly as many SQL statements as its app declares, however many rows there are.

A statement more is a round trip more in every request, or in a list one more for each row. BEGIN, SAVEPOINT and their ends
aside, which depend on the test's own transaction. Of the operations that are declared as prepared, a connection parses no
statement twice.
"""

import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.users.models import User
from tests.factories import token_of
from tests.support.endpoints import APPS, ENDPOINTS, OPERATIONS, ApiWorld, is_anonymous
from tests.support.paths import OPENAPI_DOCUMENT

pytestmark = pytest.mark.no_cover

TRANSACTION_CONTROL = re.compile(r"(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)\b")


def test_every_operation_of_the_api_is_counted():
    document = yaml.safe_load(OPENAPI_DOCUMENT.read_text())
    documented = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}

    assert OPERATIONS.keys() == documented
    assert {operation.endpoint for operation in OPERATIONS.values()} - {""} == ENDPOINTS.keys()


@pytest.mark.django_db
@pytest.mark.parametrize("rows", [1, 30])
@pytest.mark.parametrize("name", OPERATIONS)
def test_sends_as_many_statements_as_it_says(name, rows):
    operation, world = OPERATIONS[name], ApiWorld()
    ada = User.objects.get(username="ada")
    for _ in range(rows - 1):
        for app in APPS.values():
            app.add_rows(ada)
    for _ in range(min(rows, 8)):
        token_of(ada)

    with CaptureQueriesContext(connection) as captured:
        response = world.perform(operation)

    assert response.status_code in {200, 201, 204}, response.content
    if operation.is_list:
        assert len(response.json()["results"]) >= rows
    sent = [query["sql"] for query in captured if not TRANSACTION_CONTROL.match(query["sql"])]
    authentication = [] if is_anonymous(operation) else sent[:1]
    assert all("users_token" in statement for statement in authentication)
    assert len(sent) - len(authentication) == operation.statements, "\n".join(sent)


def messages_to_the_server(send: Callable[[], object], log: Path) -> Counter[str]:
    """Count the messages of PostgreSQL's protocol that a call sends, by their names, as libpq traces them."""
    with log.open("w") as trace:
        connection.connection.pgconn.trace(trace.fileno())
        try:
            send()
        finally:
            connection.connection.pgconn.untrace()
    return Counter(re.findall(r"\tF\t\d+\t(\w+)", log.read_text()))


@pytest.mark.django_db
@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if operation.is_prepared])
def test_parses_no_statement_twice(name, tmp_path):
    operation, world = OPERATIONS[name], ApiWorld()
    world.perform(operation)
    # So that its plans are not discarded right now.
    connection.connection.planned_at = time.monotonic()

    sent = messages_to_the_server(lambda: world.perform(operation), tmp_path / "trace")

    statements = operation.statements + (not is_anonymous(operation))
    # Behind a pooler nothing is prepared: each is a query of its own.
    prepares = connection.settings_dict["OPTIONS"]["prepare_threshold"] is not None
    assert sent["Parse"] == 0
    assert (sent["Execute"], sent["Query"]) == ((statements, 0) if prepares else (0, statements))
