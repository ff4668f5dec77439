"""Every class of bad input at every door it can call on: its status and code, soon, and no row written.

What only a socket can say (framing, odd request lines) is in tests/live/test_framing.py.
"""

import pytest

from tests.factories import PASSWORD
from tests.support.endpoints import ENDPOINTS, KEYED, MONEY, READS, ApiWorld
from tests.support.forms import MULTIPART, URLENCODED, part

# Not counted for coverage, which would make it twice as slow: it goes the same ways again and again.
pytestmark = [pytest.mark.django_db, pytest.mark.no_cover]


@pytest.fixture(scope="module")
def world(for_all) -> ApiWorld:
    return for_all(ApiWorld)


@pytest.mark.parametrize("door", ENDPOINTS)
def test_the_door_opens_to_what_it_honours(world, door):
    """So that a refusal below is for the one thing that is wrong."""
    assert world.call(door).status_code in {200, 201, 204}


# --- Bodies ----------------------------------------------------------------------------------------------------------


def plus(members: str | bytes):
    """Return a body with these members before the door's own."""

    def body(text: bytes) -> bytes:
        raw = members.encode() if isinstance(members, str) else members
        return b"{" + raw + (b"" if text == b"{}" else b", ") + text[1:]

    return body


def instead(text: str | bytes):
    return lambda _: text.encode() if isinstance(text, str) else text


def twice(text: bytes) -> bytes:
    """Name the first member again; of an empty object, one that is unknown."""
    member = text[1:].partition(b", ")[0].rstrip(b"}") or b'"x": 1'
    return plus(member if text != b"{}" else b'"x": 1, "x": 1')(text)


MANY = 5000
MALFORMED = {
    "cut short": lambda text: text[:-1], "with more behind it": lambda text: text + b" {}",
    "only white space": instead("  "), "single quotes": instead("{'amount': '1.00'}"),
    "trailing comma": instead('{"amount": "1.00",}'), "a comment": instead('{/* */ "amount": "1.00"}'),
    "a form": instead("amount=1.00"), "a byte that is not UTF-8": plus(b'"x": "\xff"'),
    "an overlong UTF-8 sequence": plus(b'"x": "\xc0\xaf"'), "a byte order mark": lambda text: b"\xef\xbb\xbf" + text,
    "UTF-16": lambda text: text.decode().encode("utf-16"), "a NUL byte": lambda text: text + b"\x00",
    "a raw control character in a string": plus('"x": "a\x01b"'), "a bad escape": plus(r'"x": "\x41"'),
    "NaN": plus('"x": NaN'), "Infinity": plus('"x": -Infinity'), "a leading zero": plus('"x": 007'),
    "hexadecimal": plus('"x": 0x10'), "digits of another script": plus('"x": \u0661\u0662'),
    "an integer of 101 digits": plus('"x": ' + "9" * 101),
    "an integer of 60,000 digits": plus('"x": ' + "9" * 60_000),
    "lists 21 deep": plus('"x": ' + "[" * 20 + "]" * 20),
    "objects 21 deep": plus('"x": ' + '{"x":' * 20 + "1" + "}" * 20), "lists 60,000 deep": instead("[" * 60_000),
    "objects 10,000 deep": plus('"x": ' + '{"x":' * 10_000),
}  # fmt: skip  # a table: many short values to a line
DUPLICATED = {
    "a key twice": twice,
    "a nested key twice": plus('"x": {"y": 1, "y": 2}'),
    "a key twice in another spelling": plus(r'"x": 1, "\u0078": 2'),
    "a key thousands of times": plus(", ".join(['"x": 1'] * MANY)),
    "thousands of keys twice": plus(", ".join(f'"{n}": 1' for n in [*range(MANY // 2)] * 2)),
}
UNKNOWN = {
    "an unknown field": plus('"refrence": "x"'),
    "a field of the model": plus(
        '"id": "018f0000-0000-7000-8000-000000000000", "balance": "1000.00", "is_staff": true'
    ),
    "a prototype": plus('"__proto__": {"is_staff": true}, "constructor": 1'),
    "an empty name": plus('"": 1'),
    "a name in capitals": plus('"AMOUNT": "1.00"'),
    "a name with a NUL": plus(r'"amount\u0000": "1.00"'),
    "half a character for a name": plus(r'"\ud800": 1'),
    "thousands of fields": plus(", ".join(f'"{n}": 1' for n in range(MANY))),
}
NOT_AN_OBJECT = {
    "a list": instead("[]"),
    "the object in a list": lambda text: b"[" + text + b"]",
    "a number": instead("1"),
    "a string": instead('"amount"'),
    "null": instead("null"),
    "true": instead("true"),
}
BODIES = {
    **{name: (make, "malformed_json") for name, make in MALFORMED.items()},
    **{name: (make, "duplicate_key") for name, make in DUPLICATED.items()},
    **{name: (make, "unknown_field") for name, make in UNKNOWN.items()},
    **{name: (make, "invalid_request") for name, make in NOT_AN_OBJECT.items()},
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_that_is_not_one_plain_object(world, kind):
    make, code = BODIES[kind]
    for door in ENDPOINTS:
        body = make(world.body(door))

        world.refused(400, code, world.call, door, body)


@pytest.mark.parametrize("door", [name for name, door in ENDPOINTS.items() if not door.optional])
def test_an_empty_body_where_one_is_needed(world, door):
    world.refused(400, "invalid_request", world.call, door, b"")


# --- Forms: the log-in alone takes them ------------------------------------------------------------------------------

VALID_FORM = f"username=ada&password={PASSWORD.replace(' ', '+')}".encode()


VALID_PARTS = part("username", "ada") + part("password", PASSWORD)
END = b"--b--\r\n"
FORMS = {
    "a field twice": (URLENCODED, VALID_FORM + b"&username=eve", "duplicate_key"),
    "an unknown field": (URLENCODED, VALID_FORM + b"&is_staff=true", "unknown_field"),
    "a missing field": (URLENCODED, b"username=ada", "invalid_request"),
    "a NUL": (URLENCODED, VALID_FORM.replace(b"ada", b"ada%00"), "invalid_request"),
    "bytes that are not UTF-8": (URLENCODED, VALID_FORM.replace(b"ada", b"ada%ff"), "invalid_request"),
    "thousands of fields": (URLENCODED, b"&".join(b"%d=1" % n for n in range(MANY)), "invalid_request"),
    "JSON": (URLENCODED, b'{"username": "ada"}', "invalid_request"),
    "parts with a field twice": (MULTIPART, VALID_PARTS + part("username", "eve") + END, "duplicate_key"),
    "parts with an unknown field": (MULTIPART, VALID_PARTS + part("is_staff", "true") + END, "unknown_field"),
    "a file": (MULTIPART, VALID_PARTS + part("photo", "x", '; filename="x.png"') + END, "invalid_request"),
    "a file for a name": (
        MULTIPART,
        part("password", PASSWORD) + part("username", "ada", '; filename="x"') + END,
        "invalid_request",
    ),
    "thousands of parts": (MULTIPART, b"".join(part(str(n), "") for n in range(1200)) + END, "invalid_request"),
    "no boundary": ("multipart/form-data", VALID_PARTS + END, "invalid_request"),
    "an impossible boundary": ("multipart/form-data; boundary=\xff", VALID_PARTS + END, "invalid_request"),
    "parts that are none": (MULTIPART, b"username=ada", "invalid_request"),
}


@pytest.mark.parametrize("kind", FORMS)
def test_a_form_that_is_not_a_name_and_a_password(world, kind):
    content_type, body, code = FORMS[kind]

    world.refused(400, code, world.call, "log-in", body, CONTENT_TYPE=content_type)


# --- Headers ---------------------------------------------------------------------------------------------------------

NOT_JSON = ["", "text/plain", "text/json", "application/xml", "application/json-patch+json", "json", "/", "*/*", "\xff"]
FORM_TYPES = [URLENCODED, MULTIPART]
# Those that break Django before the first middleware are in tests/live/test_framing.py.
CHARSETS = ["latin-1", "utf-16", "utf-7", "bogus", "idna", '""', "utf-8\\x00"]
HEADERS = {
    **{f"type {value!r}": (415, "unsupported_media_type", {"CONTENT_TYPE": value}) for value in NOT_JSON},
    **{
        f"charset {name}": (415, "unsupported_media_type", {"CONTENT_TYPE": f"application/json; charset={name}"})
        for name in CHARSETS
    },
    **{
        f"encoding {name}": (415, "unsupported_media_type", {"HTTP_CONTENT_ENCODING": name})
        for name in ("gzip", "br", "identity, gzip")
    },
    **{
        f"accept {name}": (406, "not_acceptable", {"HTTP_ACCEPT": name})
        for name in ("text/html", "application/xml, image/*", "application/vnd.bank.v2+json", "nonsense", "a/b; c*=x'y'z")
    },
    **{
        f"host {name!r}": (400, "invalid_host", {"HTTP_HOST": name})
        for name in (
            "evil.example", "", "localhost.evil.example", "localhost@evil.example", "localhost:x", "localhost:80:80",
            "[::2]", "[::1", "testserver/", "testserver#", "testserver\\", ".", "*", "10.0.0.1", "0x7f.1",
            "2130706433", "t\xebstserver", "testserver, evil.example", " testserver", "testserver\x00",
            "xn--testserver",
        )
    },
    "a body without a length": (411, "length_required", {"HTTP_TRANSFER_ENCODING": "chunked"}),
    "any transfer encoding": (411, "length_required", {"HTTP_TRANSFER_ENCODING": "identity"}),
}  # fmt: skip  # a table: many short values to a line


@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_that_asks_for_what_is_not_done_here(world, kind):
    status, code, environ = HEADERS[kind]
    for door in ENDPOINTS:
        world.refused(status, code, world.call, door, **environ)


@pytest.mark.parametrize("content_type", FORM_TYPES)
def test_a_form_where_only_json_is_taken(world, content_type):
    """Which is also what a form on somebody else's page could send."""
    for door in ENDPOINTS.keys() - {"log-in"}:
        world.refused(415, "unsupported_media_type", world.call, door, VALID_FORM, CONTENT_TYPE=content_type)


@pytest.mark.parametrize("size", [64 * 1024 + 1, 10**6])
def test_a_body_that_is_too_large(world, size):
    for door in ENDPOINTS:
        body = world.body(door).ljust(size)

        world.refused(413, "body_too_large", world.call, door, body)


@pytest.mark.parametrize(
    "authorization",
    [
        "", "Token", "Token ", "Token a b", "Token x", "Token \xff", "Token \x00", "Token " + "x" * 8000,
        "Bearer {key}", "Basic e30=", "{key}", "Token {key}x", "Token {key},Token {key}", 'Token "{key}"',
        "Token\u00a0{key}", "Token bank_",
    ],
)  # fmt: skip  # a table: many short values to a line
def test_a_token_that_is_none(world, authorization):
    for door in (name for name, door in ENDPOINTS.items() if door.who):
        sent = authorization.replace("{key}", world.tokens["ada"])

        world.refused(401, "not_authenticated", world.call, door, HTTP_AUTHORIZATION=sent)


@pytest.mark.parametrize(
    "key",
    [
        "", " ", "a b", "\t", "x" * 256, "x" * 8000, "k\xe4se", "a\x00", "a\x7f", "\u0661", "\xa0", "a\n",
        # What two lines become: gunicorn joins them by a comma, others by a comma and a space.
        ",", "k,k", "k, k", "k,", ",k", "k,l,m",
    ],
)  # fmt: skip  # a table: many short values to a line
def test_an_idempotency_key_that_is_none(world, key):
    for door in (*KEYED, "open"):
        world.refused(400, "idempotency_key_invalid", world.call, door, HTTP_IDEMPOTENCY_KEY=key)


@pytest.mark.parametrize("door", KEYED)
def test_no_idempotency_key(world, door):
    world.refused(400, "idempotency_key_missing", world.call, door, HTTP_IDEMPOTENCY_KEY=None)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "G\xcbT"])
def test_a_method_that_is_not_known(world, method):
    for door in (name for name, door in ENDPOINTS.items() if door.method != method):
        world.refused(405, "method_not_allowed", world.call, door, method=method, who="ada")


# --- Fields ----------------------------------------------------------------------------------------------------------

TEXTS = {
    "log-in": {"username": 150, "password": 128},
    "sign-up": {"username": 150, "password": 128, "email": 254},
    "password": {"current_password": 128, "new_password": 128},
    "open": {"name": 100},
    "rename": {"name": 100},
    "deposit": {"reference": 140},
    "withdrawal": {"reference": 140},
    "transfer": {"reference": 140},
    "reversal": {"reference": 140},
}
NOT_TEXT = {
    "null": None, "a number": 1, "a fraction": 1.5, "true": True, "a list": ["x"], "an object": {"x": "x"},
    "a NUL": "x\x00y", "a control character": "x\x1by", "a line break": "x\ny", "a late control character": "x\x9fy",
    "half a character": "x\ud800y", "nothing but a line break": "\n", "nothing but late control characters": "\x85\x85",
    "nothing but separators": "\x1c\x1d", "a line break behind it": "x\n",
}  # fmt: skip  # a table: many short values to a line


@pytest.mark.parametrize(("door", "field"), [(door, field) for door, fields in TEXTS.items() for field in fields])
def test_what_is_not_a_line_of_text(world, door, field):
    for value in (*NOT_TEXT.values(), "x" * (TEXTS[door][field] + 1)):
        problem = world.refused(400, "invalid_request", world.call, door, world.body(door, **{field: value}))

        assert {error["field"] for error in problem["errors"]} == {field}, value


LIGATURE = "\ufdfa"
"""Eighteen letters in Unicode's compatible form, four of them spaces."""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", "a b"), ("username", "a/b"), ("username", ""), ("username", "  "), ("username", LIGATURE),
        ("username", LIGATURE * 150), ("username", "\u0149" * 100), ("username", "\ufb03" * 60), ("username", "ada"),
        ("username", "\uff41\uff44\uff41"), ("password", "short"), ("password", "password1234"),
        ("password", "1" * 20), ("password", "eve@example.org"), ("email", "nowhere"), ("email", "a@b"),
        ("email", "a b@example.org"), ("email", "a@\ud800.org"), ("email", "a@exa\x00mple.org"),
        ("email", '"a\x00"@example.org'), ("email", "a@example.org\r\nBcc: b@example.org"),
        ("email", "x" * 250 + "@example.org"),
    ],
)  # fmt: skip  # a table: many short values to a line
def test_a_user_that_cannot_be(world, field, value):
    body = world.body("sign-up", **{field: value})

    problem = world.refused(400, "invalid_request", world.call, "sign-up", body)

    assert {error["field"] for error in problem["errors"]} == {field}


@pytest.mark.parametrize(
    "currency",
    [
        None,
        "",
        "usd",
        " USD",
        "USD ",
        "US",
        "USDX",
        "XAU",
        "XXX",
        "840",
        840,
        1.5,
        True,
        [],
        {},
        "\uff35\uff33\uff24",
        "USD\x00",
    ],
)
def test_a_currency_that_is_none(world, currency):
    for door in ("open", *MONEY):
        body = world.body(door, currency=currency)

        problem = world.refused(400, "invalid_request", world.call, door, body)

        assert [error["field"] for error in problem["errors"]] == ["currency"]


@pytest.mark.parametrize(
    "destination",
    [
        None, "", 1, 1.5, True, [], {}, "x", "018f", "{empty_bare}", "{{empty}}", "urn:uuid:{empty}", " {empty}",
        "{empty} ", "{empty}\n", "{empty}\x00", "\u0661" * 32, "018f0000-0000-7000-8000-00000000000\u0661",
        "g" * 8 + "-0000-7000-8000-000000000000",
    ],
)  # fmt: skip  # a table: many short values to a line
def test_a_destination_that_is_no_id(world, destination):
    if destination == "{empty_bare}":
        destination = world.names["empty"].replace("-", "")

    body = world.body("transfer", destination=destination)

    problem = world.refused(400, "invalid_request", world.call, "transfer", body)

    assert [error["field"] for error in problem["errors"]] == ["destination"]


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


@pytest.mark.parametrize("door", MONEY)
@pytest.mark.parametrize("field_code", AMOUNTS)
def test_an_amount_that_no_human_reads_as_money(world, door, field_code):
    for amount in AMOUNTS[field_code]:
        body = world.body(door, amount=amount)

        problem = world.refused(400, "invalid_request", world.call, door, body)

        assert [(error["field"], error["code"]) for error in problem["errors"]] == [("amount", field_code)], amount


@pytest.mark.parametrize(
    "number", ["1e3", "1E3", "1.0", "1.00", "-0.0", "1e400", "1e-400", "1e99999999", "0.1e1", "1." + "0" * 5000]
)
def test_a_json_number_with_a_fraction_or_an_exponent(world, number):
    """It may have lost digits before it was sent."""
    for door in MONEY:
        body = world.body(door).replace(b'"1.00"', number.encode())

        world.refused(400, "invalid_request", world.call, door, body)


# --- Paths -----------------------------------------------------------------------------------------------------------

STRANGE_IDS = {
    "a number": "1", "zero": "0", "a negative number": "-1", "20 digits": "9" * 20, "1,000 digits": "9" * 1000,
    "a word": "me", "nothing": "", "digits of another script": "%D9%A1", "a space before it": "%20{real}",
    "a space behind it": "{real}%20", "a line break behind it": "{real}%0A", "NUL": "%00",
    "NUL behind it": "{real}%00", "no dashes": "{bare}", "braces": "%7B{real}%7D", "a URN": "urn:uuid:{real}",
    "bytes that are not UTF-8": "%FF%FE", "an overlong slash": "%C0%AF", "a path upwards": "..%2F..%2Fadmin",
    "a double encoding": "%2561", "SQL": "1%27%20OR%20%271%27=%271",
    "another's digit in it": "018f0000-0000-7000-8000-00000000000%D9%A1",
    "one nobody has": "018f0000-0000-7000-8000-000000000000", "all zeros": "0" * 8 + "-0000-0000-0000-" + "0" * 12,
    "all ones": "ffffffff-ffff-ffff-ffff-ffffffffffff",
}  # fmt: skip  # a table: many short values to a line


@pytest.mark.parametrize("kind", STRANGE_IDS)
def test_an_id_that_names_nothing(world, kind):
    for door, honoured in ENDPOINTS.items():
        if "{" in honoured.path:
            world.refused(404, "not_found", world.call, door, path=with_id(world, honoured.path, kind))
    for path in READS:
        world.refused(404, "not_found", world.send, "GET", with_id(world, path, kind))


def with_id(world: ApiWorld, path: str, kind: str) -> str:
    """Return the path with a strange id in the place of a real one."""
    before, _, rest = path.partition("{")
    name, _, after = rest.partition("}")
    real = world.names[name]
    return before + STRANGE_IDS[kind].replace("{real}", real).replace("{bare}", real.replace("-", "")) + after


NOWHERE = [
    "/", "//", "/api", "/api/", "/api/v1", "/api/v1/", "/api/v2/accounts/", "/api/token", "/api/v1/accounts",
    "/api/v1//accounts/", "/API/v1/accounts/", "/api/v1/accounts/{account}",
    "/api/v1/accounts/{account}/deposits", "/api/v1/accounts.json", "/api/v1/accounts/%2e%2e/accounts/",
    "/api/v1/accounts/;/", "/metrics", "/.env", "/.git/config", "/ping", "/schema", "/%00", "/%FF",
    "/%0d%0aSet-Cookie:x", "/static/%00", "/static/../manage.py", "/static/nothing.css", "/" + "x" * 3000,
]  # fmt: skip  # a table: many short values to a line


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_path_that_leads_nowhere(world, method):
    for path in NOWHERE:
        world.refused(404, "not_found", world.send, method, path)


# --- Parameters of lists ---------------------------------------------------------------------------------------------

ACCOUNTS, STATEMENT = "/api/v1/accounts/", "/api/v1/accounts/{account}/transactions/"
LIMITS = [
    "", "0", "-1", "201", "1000", "1e1", "1.0", "+1", "%201", "1%20", "1%0A", "01", "0x1", "1_0", "%D9%A1",
    "%EF%BC%91", "%C2%B2", "NaN", "true", "null", "[]", "1%00", "%00", "9" * 20, "9" * 3000, "1%27", "all",
]  # fmt: skip  # a table: many short values to a line
MOMENTS = [
    "", "yesterday", "1", "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z",
    "0000-01-01T00:00:00Z", "0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00", "10000-01-01T00:00:00Z",
    "-0001-01-01T00:00:00Z", "99999999999999999999", "%D9%A2%D9%A0%D9%A2%D9%A6-01-01T00:00:00Z",
    "%EF%BC%92026-01-01T00:00:00Z", "2026-01-01T00:00:00%2B99:99", "2026-01-01T00:00:00Z%00",
    "%202026-01-01T00:00:00Z", "2026-01-01T00:00:00Z%0A", "now", "infinity",
]  # fmt: skip  # a table: many short values to a line
QUERY_AMOUNTS = [
    "",
    "abc",
    "-1",
    "1e3",
    "NaN",
    "Infinity",
    "1_000",
    "%2B5",
    "%205",
    "5%00",
    "%D9%A1",
    "%EF%BC%91",
    "9" * 16,
    "9" * 3000,
    "0.00001",
    "1,00",
    "0x1",
]
OF_ANY_LIST = [
    *(f"limit={value}" for value in LIMITS),
    "offset=1", "page=2", "page_size=1000", "ordering=-balance", "owner__password=x", "account__owner=1", "format=api",
    "knd=deposit", "LIMIT=1", "limit[]=1", "limit=1&limit=1", "limit=1&limit=2", "limit=1&%6Cimit=2", "%00=1", "%FF=1",
    "=1", "x", "__proto__=1", "format=json", "id__in=1", "cursor__gt=1", "token={account}", "x=" + "9" * 3000,
    "&".join(f"a{n}=1" for n in range(200)),
]  # fmt: skip  # a table: many short values to a line
OF_STATEMENTS = [
    *(f"{name}={value}" for name in ("created_from", "created_to") for value in MOMENTS),
    *(f"{name}={value}" for name in ("min_amount", "max_amount") for value in QUERY_AMOUNTS),
    *(f"kind={value}" for value in ("", "gift", "DEPOSIT", "deposit%00", "deposit,withdrawal", "deposit%20", "%FF")),
    "currency=USD",
]


@pytest.mark.parametrize(
    ("place", "queries"),
    [(ACCOUNTS, [*OF_ANY_LIST, "kind=deposit"]), (STATEMENT, OF_ANY_LIST), (STATEMENT, OF_STATEMENTS)],
    ids=["accounts", "any of a statement", "a statement's own"],
)
def test_a_parameter_that_a_list_cannot_honour(world, place, queries):
    for query in queries:
        world.refused(400, "invalid_parameter", world.send, "GET", f"{place}?{query}")


EMPTY_STATEMENT = STATEMENT.replace("{account}", "{empty}")


@pytest.fixture(scope="module")
def cursors(world, for_all) -> dict[str, str]:
    """A good cursor of each of Ada's lists, and one of another user's accounts."""

    def cursor(place: str, **request: str) -> str:
        following = world.send("GET", f"{place}?limit=1", **request).json()["next"]
        return following.partition("cursor=")[2].partition("&")[0]

    def fill() -> dict[str, str]:
        for _ in range(2):
            world.call("deposit")
            world.call("deposit", path=ENDPOINTS["deposit"].path.replace("account}", "empty}"))
            world.call("open", who="staff")
        mine = {place: cursor(place) for place in (ACCOUNTS, STATEMENT, EMPTY_STATEMENT)}
        return {**mine, "another user's": cursor(ACCOUNTS, who="staff")}

    return for_all(fill)


def tampered(good: str, *, other_lists: str, other_users: str) -> dict[str, str]:
    """Return what somebody could make of good cursors, which are `position:time:signature`."""
    return {
        "nothing": "",
        "a word": "x",
        "NUL": "%00",
        "bytes that are not UTF-8": "%FF%FE",
        "digits of another script": "%D9%A1",
        "only its signature": "%3A" + good.rpartition("%3A")[2],
        "no signature": good.rpartition("%3A")[0],
        "a shortened signature": good[:-2],
        "a longer signature": good + "A",
        "another first letter": "B" + good[1:],
        "in capitals": good.upper(),
        "a NUL behind it": good + "%00",
        "a date in DRF's own form": "cD0yMDI2LTAxLTAx",
        "SQL in DRF's own form": "cD0nOyBEUk9QIFRBQkxFIHg7LS0=",
        "thousands of letters": "W" * 3000,
        "another list's": other_lists,
        "another user's": other_users,
        "itself for other filters": good + "&max_amount=1000",
    }


@pytest.mark.parametrize("place", [ACCOUNTS, STATEMENT])
@pytest.mark.parametrize("kind", tampered("", other_lists="", other_users=""))
def test_a_cursor_that_was_not_made_for_this_list(world, cursors, place, kind):
    good = cursors[place]
    other_list = STATEMENT if place == ACCOUNTS else EMPTY_STATEMENT
    sent = tampered(good, other_lists=cursors[other_list], other_users=cursors["another user's"])[kind]
    code = "invalid_parameter" if place == ACCOUNTS and "&" in sent else "invalid_cursor"

    assert sent != good
    assert world.send("GET", f"{place}?cursor={good}").status_code == 200
    world.refused(400, code, world.send, "GET", f"{place}?cursor={sent}")


@pytest.mark.parametrize("place", [ACCOUNTS, STATEMENT])
@pytest.mark.parametrize("charset", CHARSETS)
def test_a_query_in_another_charset(world, place, charset):
    """A Content-Type would make Django read the query string by it, too."""
    sent = {"CONTENT_TYPE": f"text/plain; charset={charset}"}

    world.refused(415, "unsupported_media_type", world.send, "GET", f"{place}?limit=1", **sent)
