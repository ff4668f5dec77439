"""Access matrix: every URL of the resolver, every method and every kind of caller, against the apps' tables.

Apps bring their tables in tests/<app>/endpoints.py. A URL or a method that is in no table fails, and so does a line of a
table that names nothing.
"""

import itertools
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin import site
from django.db import transaction
from django.test import Client
from django.urls import resolve, reverse
from django.utils import timezone

from apps.core.admin import ReadOnlyAdmin
from apps.users.models import Token, User
from tests.factories import UserFactory, new_idempotency_key, token_of
from tests.support.endpoints import CALLERS, ENDPOINTS, ApiWorld, access_table, rows
from tests.support.urls import ADMIN, API

# Not measured for coverage, which would double its time: it runs the same code again and again.
pytestmark = [pytest.mark.django_db, pytest.mark.no_cover]

SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
METHODS = (*SAFE, "POST", "PUT", "PATCH", "DELETE")

EXPECTED = access_table()
# An operation without a line in an app's table.
METHOD_NOT_ALLOWED = dict.fromkeys(CALLERS, 405)
# What stands for an id in the paths of endpoints.
PLACEHOLDER = re.compile(r"\{\w+\}")
UNKNOWN_ID = "018f0000-0000-7000-8000-000000000000"
BODIES = {
    (resolve(PLACEHOLDER.sub(UNKNOWN_ID, endpoint.path)).url_name, endpoint.method): endpoint.body
    for endpoint in ENDPOINTS.values()
}


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


class AccessWorld(ApiWorld):
    """Ada's objects, and one caller of each kind."""

    def __init__(self) -> None:
        super().__init__()
        users = {name: UserFactory() for name in ("other", "revoked", "expired", "deactivated")}
        self.tokens |= {name: token_of(user) for name, user in users.items()}
        self.tokens["owner"] = self.tokens["ada"]
        Token.objects.filter(user=users["revoked"]).delete()
        Token.objects.filter(user=users["expired"]).update(expires_at=timezone.now() - timedelta(seconds=1))
        User.objects.filter(pk=users["deactivated"].pk).update(is_active=False)
        self.browser = Client()
        self.browser.force_login(UserFactory(is_staff=True, is_superuser=True))

    def request(self, name: str, method: str, caller: str, *, names: dict[str, str] | None = None, body: Any = None):
        """Send the request that this URL honours, but for the ids and the body."""
        names = self.names | (names or {})
        ids = {parameter: names[parameter.removesuffix("_id")] for parameter in API[name].pattern.converters}
        honoured = BODIES.get((name, method), {}) if body is None else body
        return self.send_to(reverse(name, kwargs=ids), method, caller, self.fill(json.dumps(honoured)))

    def send_to(self, path: str, method: str, caller: str, text: str = ""):
        headers = {"Idempotency-Key": new_idempotency_key()}
        if caller in self.tokens:
            headers["Authorization"] = f"Token {self.tokens[caller]}"
        client = self.browser if caller == "session" else Client()
        text = "" if method in SAFE else text
        return client.generic(method, path, text, "application/json", headers=headers)


@pytest.fixture(scope="module")
def world(for_all) -> AccessWorld:
    return for_all(AccessWorld)


@pytest.mark.parametrize("name", sorted(API))
def test_the_table_is_true(world, name):
    wrong, before = [], rows()
    for method, caller in itertools.product(METHODS, CALLERS):
        expected = EXPECTED.get((name, method), METHOD_NOT_ALLOWED)[caller]
        undo = transaction.savepoint()

        response = world.request(name, method, caller)

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


# --- The objects of other users are not found ----------------------------------------------------------------------------

HIDDEN = [(name, method) for (name, method), said in EXPECTED.items() if said["other"] == 404]
ODD_BODIES = [None, {}, {"amount": "-1"}, {"amount": "1.00", "x": 1}, {"amount": "1000000.00", "currency": "EUR"}]


@pytest.mark.parametrize(("name", "method"), HIDDEN, ids=[f"{method} {name}" for name, method in HIDDEN])
def test_anothers_object_is_byte_for_byte_a_missing_one(world, name, method):
    missing = dict.fromkeys(world.names, UNKNOWN_ID)
    for caller, body in itertools.product(("other", "staff"), ODD_BODIES):
        if EXPECTED[name, method][caller] != 404:
            continue
        there, nowhere = (world.request(name, method, caller, names=names, body=body) for names in ({}, missing))

        assert without_request_id(there) == without_request_id(nowhere)
        assert there.status_code in ({404} if body is None else {400, 404})


def without_request_id(response) -> tuple[int, Any, dict[str, str]]:
    """Return a response without its request id and path."""
    body = response.json() if response.content else {}
    body = {name: value for name, value in body.items() if name not in {"instance", "request_id"}}
    return response.status_code, body, {n: v for n, v in response.headers.items() if n != "X-Request-ID"}


# --- The admin -------------------------------------------------------------------------------------------------------


def concrete(route: str) -> str:
    """Return a path that the route serves."""
    route = route.replace("^(?P<app_label>", "(?P<app_label>").removesuffix("$")
    route = re.sub(r"\(\?P<app_label>(\w+)[^)]*\)", r"\1", route).replace("(?P<url>.*)", "nowhere")
    return "/" + re.sub(r"<int:\w+>", "1", re.sub(r"<path:\w+>", UNKNOWN_ID, route))


@pytest.mark.parametrize("route", ADMIN)
def test_no_token_opens_the_admin(world, route):
    for caller, method in itertools.product(("anonymous", "owner", "staff"), ("GET", "POST")):
        response = world.send_to(concrete(route), method, caller)

        if "/login/" in route:
            assert response.status_code == 200
        else:
            assert response.status_code == 302
            assert response.headers["Location"].startswith("/admin/" if "/logout/" in route else "/admin/login/")


READ_ONLY = {
    f"admin/{model._meta.app_label}/{model._meta.model_name}/": model
    for model, admin in site._registry.items()
    if isinstance(admin, ReadOnlyAdmin)
}


@pytest.mark.parametrize("route", [route for route in ADMIN if route.startswith(tuple(READ_ONLY))])
def test_not_even_a_superuser_writes_what_the_admin_only_shows(world, route):
    (key,) = (model.objects.first().pk for place, model in READ_ONLY.items() if route.startswith(place))
    path = concrete(route).replace(UNKNOWN_ID, str(key))
    before = rows()

    read, written = (world.send_to(path, method, "session", "balance=1000&_save=Save") for method in ("GET", "POST"))

    if path.endswith(("/add/", "/delete/")):
        assert read.status_code == 403
    elif path.endswith(f"/{key}/"):
        # Without /change/, where it leads.
        assert read.status_code == 302
    else:
        assert read.status_code == 200
    assert written.status_code in {200, 302, 403}
    assert rows() == before
