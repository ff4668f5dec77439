"""OpenAPI against behaviour: fields accept the values that docs/openapi.yaml declares, and responses match it.

Each declared property and query parameter is held against its field, value by value, by a strict JSON Schema validator with
formats. What no schema can say is left out by name, in `Undeclarable`.
"""

import json
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from typing import Any

import jsonschema_rs
import pytest
import yaml
from django.apps import apps
from django.utils.module_loading import module_has_submodule
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework import serializers

from apps.core.fields import TextField
from apps.core.money import currencies
from apps.core.money import fields as of_amounts
from apps.core.views import ListEndpoint
from apps.users import serializers as of_users
from config import urls  # noqa: F401  loads every view
from tests.support.endpoints import ENDPOINTS, LISTS, OPERATIONS, READS, ApiWorld
from tests.support.paths import OPENAPI_DOCUMENT

pytestmark = pytest.mark.no_cover

EXAMPLES = 50
WITHDRAWN = [*currencies.EXPONENTS.keys() - currencies.CURRENT.keys()]

DOCUMENT = yaml.safe_load(OPENAPI_DOCUMENT.read_text())
INPUTS: dict[str, type[serializers.Serializer[Any]]] = {
    f"{name}Request": serializer
    for app in apps.get_app_configs()
    if app.name.startswith("apps.") and module_has_submodule(app.module, "serializers")
    for name, serializer in vars(import_module(f"{app.name}.serializers")).items()
    if f"{name}Request" in DOCUMENT["components"]["schemas"]
}
DECLARED = [
    (component, name)
    for component in INPUTS
    for name in DOCUMENT["components"]["schemas"][component].get("properties", ())
]
FILTERS = [
    (view.filters, parameter)
    for view in ListEndpoint.__subclasses__()
    for operations in DOCUMENT["paths"].values()
    for parameter in operations.get("get", {}).get("parameters", ())
    if operations["get"]["operationId"] in OPERATIONS and parameter["name"] in view.filters().fields
]


def as_json_schema(node: Any) -> Any:
    """Return a part of an OpenAPI 3.0 document as JSON Schema, which has no `nullable`."""
    if isinstance(node, list):
        return [as_json_schema(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    plain = {name: as_json_schema(inner) for name, inner in node.items() if name != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if node.get("nullable") is True else plain


COMPONENTS = {"components": as_json_schema(DOCUMENT["components"])}


@cache
def validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        COMPONENTS | as_json_schema(json.loads(schema)), validate_formats=True, ignore_unknown_formats=True
    )


def allows(schema: dict[str, Any], value: Any) -> bool:
    return validator(json.dumps(schema)).is_valid(value)


def takes(field: serializers.Field[Any, Any, Any, Any], value: Any) -> bool:
    try:
        field.run_validation(value)
    except serializers.ValidationError:
        return False
    return True


class Undeclarable:
    """A field whose rule JSON Schema cannot express."""

    @staticmethod
    def length(field: Any, value: Any) -> bool:
        """Text is measured as it is stored: composed, and most of it without white space around it."""
        if not isinstance(field, TextField) or not isinstance(value, str):
            return False
        form = "NFKC" if isinstance(field, of_users.UsernameField) else "NFC"
        stored = unicodedata.normalize(form, value.strip() if field.trim_whitespace else value)
        return (len(value) > field.max_length) != (len(stored) > field.max_length)

    @staticmethod
    def letters(field: Any, value: Any) -> bool:
        """The letters and digits of every script."""
        return isinstance(field, of_users.NewUsernameField) and isinstance(value, str) and not value.isascii()

    @staticmethod
    def moment(field: Any, value: Any) -> bool:
        """A moment in the years from 1 to 9999 by its own offset, and not by UTC's."""
        if not isinstance(field, serializers.DateTimeField) or not isinstance(value, str):
            return False
        try:
            datetime.fromisoformat(value.upper()).astimezone(UTC)
        except OverflowError:
            return True
        except ValueError:
            return False
        return False

    @staticmethod
    def punycode(field: Any, value: Any) -> bool:
        """Which labels of a domain are encoded letters, and of which scripts: validators of `email` differ."""
        return isinstance(field, of_users.EmailField) and isinstance(value, str) and bool(re.search(r"[@.]..--", value))

    @staticmethod
    def withdrawn(field: Any, value: Any) -> bool:
        """Withdrawn codes: the use case refuses them, because a replay of an older key must still succeed."""
        return isinstance(field, of_amounts.NewCurrencyField) and value in WITHDRAWN

    @classmethod
    def is_so(cls, field: Any, value: Any) -> bool:
        rules = (cls.length, cls.letters, cls.moment, cls.punycode, cls.withdrawn)
        return any(rule(field, value) for rule in rules)


POOL = [
    None, True, 0, 1, -1, 1.5, 10**9, 10**9 + 1, 10**20, [], ["x"], {}, "", " ", "  ", "x", " x", "x ", "\n", "\r\n", "\t",
    "\v", "\f", "\x00", "\x1c", "\x1f", "\x7f", "\x85", "\x9f", "\xa0", "\u2028", "\u2029", "\u3000", "x\n", "\nx", "a b",
    "a/b",
    "a@b", "@", "a+b-c.d_e", "[", "`", "~", "x" * 64, "x" * 100, "x" * 101, "x" * 128, "x" * 129, "x" * 140, "x" * 141,
    "x" * 150, "x" * 151, "0", "00", "1", "01", "1.", ".5", "0.0", "0.00", "0.01", "0.0001", "0.00001", "1.00", "1.00000",
    "999999999.9999", "1000000000", "1000000000.0", "1000000000.0001", "1000000001", "9999999999", "999999999999999", "1e3",
    "USD", "usd", "US", "USDX", "XAU", "XXX", "HRK", "deposit", "DEPOSIT", "reversal", "gift",
    "018f0000-0000-7000-8000-00000000abcd", "018F0000-0000-7000-8000-00000000ABCD", "018f0000000070008000000000000000",
    "{018f0000-0000-7000-8000-000000000000}", "urn:uuid:018f0000-0000-7000-8000-000000000000",
    "2026-01-01T00:00:00Z", "2026-01-01t00:00:00z", "2026-01-01T00:00:00.1234567z", "2026-01-01T00:00:00+23:59",
    "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00-00:00", "2026-02-29T00:00:00Z", "2024-02-29T00:00:00Z",
    "2026-01-01", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00", "2026-01-01T24:00:00Z", "2016-12-31T23:59:60Z",
    "2026-01-01T00:00:00.Z", "2026-01-01T00:00Z", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "10000-01-01T00:00:00Z",
    "a@b.org", " a@b.org", "a@b.org ", "A@B.ORG", "a.b@c-d.org", "a..b@c.org", ".a@b.org", "a.@b.org", "a@b..org",
    "a@-b.org",
    "a@b-.org", "a@b.c", "a@[127.0.0.1]", '"a b"@c.org', "a@b@c.org", "a@b.org\n", "\xe4@b.org", "a@\xe4.org", "a@localhost",
    "a'b!#$%&*+/=?^_`{|}~-@c.org", "x" * 64 + "@b.org", "x" * 65 + "@b.org", "a@" + "x" * 63 + ".org",
    "a@" + "x" * 64 + ".org",
    "a@" + ".".join(["x" * 60] * 3) + ".org", "a@" + ".".join(["x" * 60] * 5) + ".org", "a@xn--mnchen-3ya.org",
]  # fmt: skip  # a table: many short values to a line


def patterns(schema: dict[str, Any]) -> Iterator[str]:
    """Yield the `pattern` keywords of a schema."""
    for part in (schema, *schema.get("oneOf", ())):
        if "pattern" in part:
            yield part["pattern"]


def values_near(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that the schema allows, values that it nearly allows, and any others."""
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=160)
    fitting = [st.from_regex(pattern, fullmatch=True).filter(lambda t: len(t) < 300) for pattern in patterns(schema)]
    broken = [st.tuples(each, st.sampled_from(["\n", " ", "\x85", "0", "\x00"])).map("".join) for each in fitting]
    return st.one_of(st.sampled_from(POOL), text, st.integers(), st.emails(), *fitting, *broken)


def assert_agreement(schema: dict[str, Any], field: Any, value: Any) -> None:
    if not Undeclarable.is_so(field, value):
        assert takes(field, value) == allows(schema, value), repr(value)


@pytest.mark.parametrize(("component", "name"), DECLARED)
def test_a_field_takes_what_its_declaration_allows_and_nothing_else(component, name):
    schema = DOCUMENT["components"]["schemas"][component]["properties"][name]
    field = INPUTS[component]().fields[name]
    for value in POOL:
        assert_agreement(schema, field, value)

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(values_near(schema))
    def holds(value: Any) -> None:
        assert_agreement(schema, field, value)

    holds()


@pytest.mark.parametrize(("filters", "parameter"), FILTERS)
def test_so_does_a_filter_of_a_list(filters, parameter):
    field = filters().fields[parameter["name"]]
    for value in POOL:
        if isinstance(value, str):
            assert_agreement(parameter["schema"], field, value)

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(values_near(parameter["schema"]).filter(lambda value: isinstance(value, str)))
    def holds(value: Any) -> None:
        assert_agreement(parameter["schema"], field, value)

    holds()


def parts(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from parts(inner)


def test_each_default_is_allowed_by_its_own_schema():
    defaults = [part for part in parts(DOCUMENT) if "default" in part]

    assert defaults
    assert [part for part in defaults if not allows(part, part["default"])] == []


@pytest.fixture(scope="module")
def world(for_all) -> ApiWorld:
    return for_all(ApiWorld)


def unnamed(path: str) -> str:
    """Return a path whose parameters have no names: the tests name the objects, the document the parameters."""
    return re.sub(r"\{.*?\}", "{}", path)


PATHS = {unnamed(path): operations for path, operations in DOCUMENT["paths"].items()}


def declared(method: str, path: str, status: int) -> dict[str, Any] | None:
    """Return the schema of an answer; None of one without a body."""
    answer = PATHS[unnamed(path)][method]["responses"][str(status)]
    return next((media["schema"] for media in answer.get("content", {}).values()), None)


@pytest.mark.django_db
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_answers_of_an_operation_are_as_declared(world, endpoint):
    for body in (None, b'{"x": 1}'):
        answer = world.call(endpoint, body)
        schema = declared(ENDPOINTS[endpoint].method.lower(), ENDPOINTS[endpoint].path, answer.status_code)

        assert (schema is None) == (not answer.content)
        if schema:
            validator(json.dumps(schema)).validate(answer.json())


@pytest.mark.django_db
@pytest.mark.parametrize("path", sorted({*READS, *(each.path for each in LISTS), "/api/v1/users/me/"}))
def test_answers_of_a_read_are_as_declared(world, path):
    schema = declared("get", path, 200)

    validator(json.dumps(schema)).validate(world.send("GET", path).json())


@pytest.mark.django_db
def test_a_user_without_an_address_is_as_declared(world):
    answer = world.call("sign-up", world.body("sign-up", username="zoe", email=""))

    assert (answer.status_code, answer.json()["email"]) == (201, "")
    validator(json.dumps(declared("post", ENDPOINTS["sign-up"].path, 201))).validate(answer.json())
