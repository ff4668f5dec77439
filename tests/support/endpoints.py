"""Every operation that takes a body, a request that each honours, and somebody to send it: for tests of what is refused."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.apps import apps
from django.db import connection
from django.test import Client

from tests.factories import PASSWORD, AccountFactory, UserFactory, deposit, new_idempotency_key, token_of
from tests.support.patience import HANG_S
from tests.support.problems import assert_problem

LOGIN_FAILURES = "users_loginfailures"


@dataclass(frozen=True)
class Endpoint:
    """An operation that takes a body, and a request that it honours."""

    path: str
    body: dict[str, Any]
    who: str | None = "ada"
    optional: bool = False
    """Whether it opens without a body, too."""
    method: str = "POST"


ENDPOINTS = {
    "log-in": Endpoint("/api/token/", {"username": "ada", "password": PASSWORD}, who=None),
    "sign-up": Endpoint(
        "/api/v1/users/", {"username": "eve", "password": PASSWORD, "email": "eve@example.org"}, who=None
    ),
    "password": Endpoint("/api/v1/users/me/password/", {"current_password": PASSWORD, "new_password": PASSWORD + "!"}),
    "open": Endpoint("/api/v1/accounts/", {"currency": "EUR", "name": "Holiday"}, optional=True),
    "rename": Endpoint("/api/v1/accounts/{account}/", {"name": "Holiday"}, method="PATCH"),
    "close": Endpoint("/api/v1/accounts/{empty}/close/", {}, optional=True),
    "deposit": Endpoint(
        "/api/v1/accounts/{account}/deposits/", {"amount": "1.00", "currency": "USD", "reference": "x"}
    ),
    "withdrawal": Endpoint("/api/v1/accounts/{account}/withdrawals/", {"amount": "1.00", "reference": "x"}),
    "transfer": Endpoint("/api/v1/accounts/{account}/transfers/", {"amount": "1.00", "destination": "{empty}"}),
    "reversal": Endpoint(
        "/api/v1/transactions/{transaction}/reversal/", {"reference": "x"}, who="staff", optional=True
    ),
}
READS = (
    "/api/v1/accounts/{account}/",
    "/api/v1/accounts/{account}/transactions/",
    "/api/v1/transactions/{transaction}/",
)
MONEY = ("deposit", "withdrawal", "transfer")
KEYED = (*MONEY, "reversal")
"""Those that need an Idempotency-Key; opening an account takes one."""


class ApiWorld:
    """Ada with a hundred dollars and an empty account, a member of staff, and a client that knows them."""

    def __init__(self) -> None:
        ada, staff = UserFactory(username="ada"), UserFactory(is_staff=True)
        account = AccountFactory(owner=ada)
        self.names = {
            "account": str(account.pk),
            "empty": str(AccountFactory(owner=ada).pk),
            "transaction": str(deposit(account, "100.00").transaction.pk),
        }
        self.tokens = {"ada": token_of(ada), "staff": token_of(staff)}
        self._client = Client(raise_request_exception=False)

    def fill(self, template: str) -> str:
        """Put real ids in the place of their names."""
        for name, value in self.names.items():
            template = template.replace(f"{{{name}}}", value)
        return template

    def body(self, door: str, **changes: Any) -> bytes:
        """Return the body that the door honours, with some fields changed."""
        return self.fill(json.dumps(ENDPOINTS[door].body | changes)).encode()

    def send(self, method: str, path: str, body: bytes = b"", *, who: str | None = "ada", **environ: Any):
        """Send it with a token and a key, unless `environ` says otherwise; a value of None leaves a header out."""
        defaults = {"CONTENT_TYPE": "application/json", "HTTP_IDEMPOTENCY_KEY": new_idempotency_key()}
        if who:
            defaults["HTTP_AUTHORIZATION"] = f"Token {self.tokens[who]}"
        environ = {name: value for name, value in (defaults | environ).items() if value is not None}
        return self._client.generic(method, self.fill(path), body, environ.get("CONTENT_TYPE", ""), **environ)

    def call(self, door: str, body: bytes | None = None, **changes: Any):
        """Send the door what it honours, but for `body` and `changes`: method, path, who, and what `send` takes."""
        request = {"method": ENDPOINTS[door].method, "path": ENDPOINTS[door].path, "who": ENDPOINTS[door].who} | changes
        return self.send(body=self.body(door) if body is None else body, **request)

    def refused(self, status: int, code: str, send: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Send what must be refused and return the problem: the right one, and nothing has been written."""
        try:
            return refusal(status, code, partial(send, *args, **kwargs))
        except AssertionError as error:
            # A test sends many.
            error.add_note(f"sent: {(*args, kwargs)!r:.300}")
            raise


def refusal(status: int, code: str, send: Callable[[], Any]) -> dict[str, Any]:
    before, started = rows(), time.monotonic()
    problem = assert_problem(send(), status, code)
    assert time.monotonic() - started < HANG_S
    assert rows() == before
    return problem


def rows() -> list[tuple[Any, ...]]:
    """Return how many rows each table of ours has, and a digest of all they hold; login failures aside."""
    ours = {model._meta.db_table for model in apps.get_models() if model.__module__.startswith("apps.")}
    counts = (
        f"SELECT '{table}', count(*), md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM {table} t"
        for table in sorted(ours - {LOGIN_FAILURES})
    )
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(counts))
        return cursor.fetchall()
