"""Operations of every app, collected from `tests/*/endpoints.py`, and users to send their requests: for generic tests.

An app brings its rows by a module of its own; no app is named here.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db import connection
from django.test import Client

from tests.factories import UserFactory, new_idempotency_key, token_of
from tests.support.operations import AppOperations, Endpoint, Operation
from tests.support.patience import HANG_S
from tests.support.problems import assert_problem

# Callers of the access matrix. `session` is a superuser of the admin without a token.
CALLERS = ("owner", "other", "anonymous", "revoked", "expired", "deactivated", "staff", "session")


def collect() -> dict[str, AppOperations]:
    """Import every tests/<app>/endpoints.py, and return what each declares, by the app's name."""
    folders = sorted(path.parent for path in Path(__file__).parents[1].glob("*/endpoints.py"))
    names = [folder.name for folder in folders if folder != Path(__file__).parent]
    return {name: import_module(f"tests.{name}.endpoints").APP for name in names}


def unite(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge the apps' declarations; no two apps may use one name."""
    united: dict[str, Any] = {}
    for part in parts:
        assert not united.keys() & part.keys(), united.keys() & part.keys()
        united |= part
    return united


APPS = collect()
ENDPOINTS: dict[str, Endpoint] = unite(app.endpoints for app in APPS.values())
OPERATIONS: dict[str, Operation] = unite(app.operations for app in APPS.values())
READS = [operation.path for operation in OPERATIONS.values() if operation.method == "GET" and "{" in operation.path]
LISTS = [operation for operation in OPERATIONS.values() if operation.is_list]
KEYED = [name for name, endpoint in ENDPOINTS.items() if endpoint.idempotency_key == "required"]


def is_anonymous(operation: Operation) -> bool:
    """Return whether an operation needs no token."""
    return bool(operation.endpoint) and ENDPOINTS[operation.endpoint].who is None


def access_table() -> dict[tuple[str, str], dict[str, int]]:
    """Return the status for each caller, by URL name and method; HEAD is as GET."""
    table: dict[tuple[str, str], dict[str, int]] = {}
    for name, app in APPS.items():
        callers, *lines = (line.split() for line in app.access.strip().splitlines())
        assert tuple(callers) == CALLERS, name
        for url_name, method, *statuses in lines:
            assert (url_name, method) not in table
            table[url_name, method] = dict(zip(CALLERS, map(int, statuses), strict=True))
    return table | {(name, "HEAD"): statuses for (name, method), statuses in table.items() if method == "GET"}


class ApiWorld:
    """Ada with objects of every app, a member of staff, and a client with the tokens of both."""

    def __init__(self) -> None:
        ada, staff = UserFactory(username="ada"), UserFactory(is_staff=True)
        self.names = unite(app.create_objects(ada) for app in APPS.values())
        self.tokens = {"ada": token_of(ada), "staff": token_of(staff)}
        self._client = Client(raise_request_exception=False)

    def fill(self, template: str) -> str:
        """Put real ids in the place of their names."""
        for name, value in self.names.items():
            template = template.replace(f"{{{name}}}", value)
        return template

    def body(self, endpoint: str, **changes: Any) -> bytes:
        """Return the body that the endpoint honours, with some fields changed."""
        return self.fill(json.dumps(ENDPOINTS[endpoint].body | changes)).encode()

    def send(self, method: str, path: str, body: bytes = b"", *, who: str | None = "ada", **environ: Any):
        """Send it with a token and a key, unless `environ` says otherwise; a value of None leaves a header out."""
        defaults = {"CONTENT_TYPE": "application/json", "HTTP_IDEMPOTENCY_KEY": new_idempotency_key()}
        if who:
            defaults["HTTP_AUTHORIZATION"] = f"Token {self.tokens[who]}"
        environ = {name: value for name, value in (defaults | environ).items() if value is not None}
        return self._client.generic(method, self.fill(path), body, environ.get("CONTENT_TYPE", ""), **environ)

    def call(self, endpoint: str, body: bytes | None = None, **changes: Any):
        """Send the request that the endpoint honours, with this body and these changes: method, path, who, headers."""
        honoured = ENDPOINTS[endpoint]
        request = {"method": honoured.method, "path": honoured.path, "who": honoured.who} | changes
        return self.send(body=self.body(endpoint) if body is None else body, **request)

    def perform(self, operation: Operation):
        """Send an operation's request."""
        return self.call(operation.endpoint) if operation.endpoint else self.send(operation.method, operation.path)

    def refused(self, status: int, code: str, send: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Send a request; assert that this problem comes and no row is written; return the problem."""
        try:
            return refusal(status, code, partial(send, *args, **kwargs))
        except AssertionError as error:
            # A test sends many.
            error.add_note(f"sent: {(*args, kwargs)!r:.300}")
            raise


def refusal(status: int, code: str, send: Callable[[], Any]) -> dict[str, Any]:
    """Call `send`; assert that this problem comes, soon, and that no row is written."""
    before, started = rows(), time.monotonic()
    problem = assert_problem(send(), status, code)
    assert time.monotonic() - started < HANG_S
    assert rows() == before
    return problem


def rows() -> list[tuple[Any, ...]]:
    """Return how many rows each table of ours has, and a digest of all they hold; those of failures aside."""
    ours = {model._meta.db_table for model in apps.get_models() if model.__module__.startswith(("apps.", "tests."))}
    ours -= {table for app in APPS.values() for table in app.tables_of_failures}
    counts = (
        f"SELECT '{table}', count(*), md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM {table} t"
        for table in sorted(ours)
    )
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(counts))
        return cursor.fetchall()
