"""Who may do what: every URL of the resolver, every method and every kind of caller, against one table.

A URL or a method that is not in the table fails, and so does a line of the table that names nothing.
"""

import itertools
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.users.models import Token, User
from tests.factories import PASSWORD, AccountFactory, UserFactory, deposit, new_idempotency_key, token_of
from tests.support.endpoints import rows
from tests.support.urls import ADMIN, API

# Not counted for coverage, which would make it twice as slow: it goes the same ways again and again.
pytestmark = [pytest.mark.django_db, pytest.mark.no_cover]

CALLERS = ("owner", "other", "anonymous", "revoked", "expired", "deactivated", "staff", "session")
SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
METHODS = (*SAFE, "POST", "PUT", "PATCH", "DELETE")

# `session` is a superuser of the admin without a token. What has no line is 405 for everybody, whoever they are.
TABLE = """
                      owner other anonymous revoked expired deactivated staff session

token        POST     200   200   200       200     200     200         200   200
token        DELETE   204   204   401       401     401     401         204   401
users        POST     201   201   201       201     201     201         201   201
me           GET      200   200   401       401     401     401         200   401
password     POST     204   204   401       401     401     401         204   401
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
schema       GET      200   200   200       200     200     200         200   200
swagger-ui   GET      200   200   200       200     200     200         200   200
"""

BODIES: dict[str, dict[str, Any]] = {
    "token": {"username": "ada", "password": PASSWORD},
    "users": {"username": "eve", "password": PASSWORD},
    "password": {"current_password": PASSWORD, "new_password": PASSWORD + "!"},
    "account": {"name": "Holiday"},
    "deposits": {"amount": "1.00"},
    "withdrawals": {"amount": "1.00"},
    "transfers": {"amount": "1.00", "destination": "{destination}"},
}


def table() -> dict[tuple[str, str], dict[str, int]]:
    """Return what the table says; HEAD is as GET."""
    lines = [line.split() for line in TABLE.strip().splitlines()[1:] if line]
    said = {(name, method): dict(zip(CALLERS, map(int, statuses), strict=True)) for name, method, *statuses in lines}
    return said | {(name, "HEAD"): statuses for (name, method), statuses in said.items() if method == "GET"}


EXPECTED = table()
EVERYBODY_IS_REFUSED = dict.fromkeys(CALLERS, 405)


def test_every_url_and_method_is_in_the_table():
    served = {
        (name, method)
        for name, pattern in API.items()
        for method in METHODS
        if method.lower() in pattern.callback.cls.http_method_names and hasattr(pattern.callback.cls, method.lower())
    }
    served |= {(name, "HEAD") for name, method in served if method == "GET"}
    # Django's View has a method for it, which answers 405 like the rest: there is no metadata class.
    served -= {(name, "OPTIONS") for name in API}

    assert served == EXPECTED.keys()
    assert len(API) * len(METHODS) * len(CALLERS) >= 500


class ApiWorld:
    """Ada's account with a hundred dollars, and one caller of each kind."""

    def __init__(self) -> None:
        ada, other = UserFactory(username="ada"), UserFactory()
        self.account = AccountFactory(owner=ada)
        self.transaction = deposit(self.account, "100.00").transaction
        self.names = {
            "account_id": str(self.account.pk),
            "transaction_id": str(self.transaction.pk),
            "destination": str(AccountFactory().pk),
        }
        users = {name: UserFactory() for name in ("revoked", "expired", "deactivated")}
        users |= {"owner": ada, "other": other, "staff": UserFactory(is_staff=True)}
        self.tokens = {name: token_of(user) for name, user in users.items()}
        Token.objects.filter(user=users["revoked"]).delete()
        Token.objects.filter(user=users["expired"]).update(expires_at=timezone.now() - timedelta(seconds=1))
        User.objects.filter(pk=users["deactivated"].pk).update(is_active=False)
        self.browser = Client()
        self.browser.force_login(UserFactory(is_staff=True, is_superuser=True))

    def send(self, name: str, method: str, caller: str, *, names: dict[str, str] | None = None, body: Any = None):
        """Send what this URL honours, but for the ids and the body."""
        names = self.names | (names or {})
        text = json.dumps(BODIES.get(name, {}) if body is None else body).replace("{destination}", names["destination"])
        ids = {parameter: names[parameter] for parameter in API[name].pattern.converters}
        return self.send_to(reverse(name, kwargs=ids), method, caller, text)

    def send_to(self, path: str, method: str, caller: str, text: str = ""):
        headers = {"Idempotency-Key": new_idempotency_key()}
        if caller in self.tokens:
            headers["Authorization"] = f"Token {self.tokens[caller]}"
        client = self.browser if caller == "session" else Client()
        text = "" if method in SAFE else text
        return client.generic(method, path, text, "application/json", headers=headers)


@pytest.fixture(scope="module")
def world(for_all) -> ApiWorld:
    return for_all(ApiWorld)


@pytest.mark.parametrize("name", sorted(API))
def test_the_table_is_true(world, name):
    wrong, before = [], rows()
    for method, caller in itertools.product(METHODS, CALLERS):
        expected = EXPECTED.get((name, method), EVERYBODY_IS_REFUSED)[caller]
        undo = transaction.savepoint()

        response = world.send(name, method, caller)

        case = f"{method} {name} as {caller}"
        if response.status_code != expected:
            wrong.append(f"{case}: {response.status_code}, not {expected}")
        if (method in SAFE or response.status_code in {401, 403, 404, 405}) and rows() != before:
            wrong.append(f"{case}: something was written")
        if (
            response.status_code == 401
            and method != "HEAD"
            and response.json()["detail"] != "A valid token is required."
        ):
            wrong.append(f"{case}: {response.json()['detail']}")
        transaction.savepoint_rollback(undo)
    assert wrong == []


# --- Another's is as if it were not there ----------------------------------------------------------------------------

NOBODYS = "018f0000-0000-7000-8000-000000000000"
HIDDEN = [(name, method) for (name, method), said in EXPECTED.items() if said["other"] == 404]
ODD_BODIES = [None, {}, {"amount": "-1"}, {"amount": "1.00", "x": 1}, {"amount": "1000000.00", "currency": "EUR"}]


@pytest.mark.parametrize(("name", "method"), HIDDEN, ids=[f"{method} {name}" for name, method in HIDDEN])
def test_anothers_object_is_byte_for_byte_a_missing_one(world, name, method):
    missing = {"account_id": NOBODYS, "transaction_id": NOBODYS}
    for caller, body in itertools.product(("other", "staff"), ODD_BODIES):
        if EXPECTED[name, method][caller] != 404:
            continue
        there, nowhere = (world.send(name, method, caller, names=names, body=body) for names in ({}, missing))

        assert unnamed(there) == unnamed(nowhere)
        assert there.status_code in ({404} if body is None else {400, 404})


def unnamed(response) -> tuple[int, Any, dict[str, str]]:
    """Return everything of an answer but what names the request."""
    body = response.json() if response.content else {}
    body = {name: value for name, value in body.items() if name not in {"instance", "request_id"}}
    return response.status_code, body, {n: v for n, v in response.headers.items() if n != "X-Request-ID"}


# --- The admin -------------------------------------------------------------------------------------------------------


def concrete(route: str) -> str:
    """Return a path that the route serves."""
    route = route.replace("^(?P<app_label>", "(?P<app_label>").removesuffix("$")
    route = re.sub(r"\(\?P<app_label>(\w+)[^)]*\)", r"\1", route).replace("(?P<url>.*)", "nowhere")
    return "/" + re.sub(r"<int:\w+>", "1", re.sub(r"<path:\w+>", NOBODYS, route))


@pytest.mark.parametrize("route", ADMIN)
def test_no_token_opens_the_admin(world, route):
    for caller, method in itertools.product(("anonymous", "owner", "staff"), ("GET", "POST")):
        response = world.send_to(concrete(route), method, caller)

        if "/login/" in route:
            assert response.status_code == 200
        else:
            assert response.status_code == 302
            assert response.headers["Location"].startswith("/admin/" if "/logout/" in route else "/admin/login/")


@pytest.mark.parametrize("route", [route for route in ADMIN if route.startswith("admin/ledger/")])
def test_not_even_a_superuser_writes_the_books_in_the_admin(world, route):
    entry = world.transaction.entries.get()
    keys = {"account": entry.account_id, "transaction": entry.transaction_id, "entry": entry.pk}
    path = concrete(route).replace(NOBODYS, str(keys[route.split("/")[2]]))
    before = rows()

    read, written = (world.send_to(path, method, "session", "balance=1000&_save=Save") for method in ("GET", "POST"))

    if path.endswith(("/add/", "/delete/")):
        assert read.status_code == 403
    elif path.endswith(f"/{keys[route.split('/')[2]]}/"):
        # Without /change/, where it leads.
        assert read.status_code == 302
    else:
        assert read.status_code == 200
    assert written.status_code in {200, 302, 403}
    assert rows() == before
