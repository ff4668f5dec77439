"""Classes of bad input, sent to every endpoint that they fit: status and code, soon, and no row written.

Apps bring their endpoints and bad values in tests/<app>/endpoints.py. Framing and odd request lines, which need a socket,
are in tests/live/test_framing.py.
"""

import pytest

from tests.factories import PASSWORD
from tests.support.endpoints import ENDPOINTS, KEYED, LISTS, READS, ApiWorld
from tests.support.forms import MULTIPART, URLENCODED, part

# Not counted for coverage, which would take twice the time for the same lines again and again.
pytestmark = [pytest.mark.django_db, pytest.mark.no_cover]


@pytest.fixture(scope="module")
def world(for_all) -> ApiWorld:
    return for_all(ApiWorld)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_endpoint_honours_its_own_request(world, endpoint):
    """So that a refusal below is for the one thing that is wrong."""
    assert world.call(endpoint).status_code in {200, 201, 204}


# --- Bodies ----------------------------------------------------------------------------------------------------------


MANY = 5000
# Each body is made of one that an endpoint honours: BODY stands for it, MEMBERS for what is between its braces.
MALFORMED = {
    "only white space": b"  ", "single quotes": b"{'amount': '1.00'}", "trailing comma": b'{"amount": "1.00",}',
    "a comment": b'{/* */ "amount": "1.00"}', "a form": b"amount=1.00", "lists 60,000 deep": b"[" * 60_000,
    "with more behind it": b"BODY {}", "a byte order mark": b"\xef\xbb\xbfBODY", "a NUL byte": b"BODY\x00",
    "cut short": b"{MEMBERS", "a byte that is not UTF-8": b'{"x": "\xff", MEMBERS}',
    "an overlong UTF-8 sequence": b'{"x": "\xc0\xaf", MEMBERS}',
    "a raw control character in a string": b'{"x": "a\x01b", MEMBERS}', "a bad escape": rb'{"x": "\x41", MEMBERS}',
    "NaN": b'{"x": NaN, MEMBERS}', "Infinity": b'{"x": -Infinity, MEMBERS}', "a leading zero": b'{"x": 007, MEMBERS}',
    "hexadecimal": b'{"x": 0x10, MEMBERS}', "digits of another script": b'{"x": \xd9\xa1\xd9\xa2, MEMBERS}',
    "an integer of 101 digits": b'{"x": %s, MEMBERS}' % (b"9" * 101),
    "an integer of 60,000 digits": b'{"x": %s, MEMBERS}' % (b"9" * 60_000),
    "lists 21 deep": b'{"x": %s, MEMBERS}' % (b"[" * 20 + b"]" * 20),
    "objects 21 deep": b'{"x": %s, MEMBERS}' % (b'{"x":' * 20 + b"1" + b"}" * 20),
    "objects 10,000 deep": b'{"x": %s, MEMBERS}' % (b'{"x":' * 10_000),
}  # fmt: skip  # a table: many short values to a line
DUPLICATED = {
    "a key twice": b"{FIRST, MEMBERS}",
    "a nested key twice": b'{"x": {"y": 1, "y": 2}, MEMBERS}',
    "a key twice in another spelling": rb'{"x": 1, "\u0078": 2, MEMBERS}',
    "a key thousands of times": b"{%s, MEMBERS}" % b", ".join([b'"x": 1'] * MANY),
    "thousands of keys twice": b"{%s, MEMBERS}" % b", ".join(b'"%d": 1' % n for n in [*range(MANY // 2)] * 2),
}
UNKNOWN = {
    "an unknown field": b'{"refrence": "x", MEMBERS}',
    "a field of the model": b'{"id": "018f0000-0000-7000-8000-000000000000", "owner": 1, "is_staff": true, MEMBERS}',
    "a prototype": b'{"__proto__": {"is_staff": true}, "constructor": 1, MEMBERS}',
    "an empty name": b'{"": 1, MEMBERS}',
    "a name in capitals": b'{"AMOUNT": "1.00", MEMBERS}',
    "a name with a NUL": rb'{"amount\u0000": "1.00", MEMBERS}',
    "half a character for a name": rb'{"\ud800": 1, MEMBERS}',
    "thousands of fields": b"{%s, MEMBERS}" % b", ".join(b'"%d": 1' % n for n in range(MANY)),
}
NOT_AN_OBJECT = {
    "a list": b"[]",
    "the object in a list": b"[BODY]",
    "a number": b"1",
    "a string": b'"amount"',
    "null": b"null",
    "true": b"true",
}
BODIES = {
    kind: (template, code)
    for code, templates in {
        "malformed_json": MALFORMED,
        "duplicate_key": DUPLICATED,
        "unknown_field": UNKNOWN,
        "invalid_request": NOT_AN_OBJECT,
    }.items()
    for kind, template in templates.items()
}


def fill_in(template: bytes, honoured: bytes) -> bytes:
    """Return the template with the parts of an honoured body; of an empty one, the first member is one that is unknown."""
    members = honoured[1:-1]
    first = members.partition(b", ")[0] or b'"x": 1, "x": 1'
    if not members:
        template = template.replace(b", MEMBERS", b"")
    return template.replace(b"BODY", honoured).replace(b"FIRST", first).replace(b"MEMBERS", members)


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_that_is_not_one_plain_object(world, kind):
    template, code = BODIES[kind]
    for endpoint in ENDPOINTS:
        world.refused(400, code, world.call, endpoint, fill_in(template, world.body(endpoint)))


def test_a_body_in_utf_16(world):
    for endpoint in ENDPOINTS:
        world.refused(400, "malformed_json", world.call, endpoint, world.body(endpoint).decode().encode("utf-16"))


@pytest.mark.parametrize("endpoint", [name for name, endpoint in ENDPOINTS.items() if not endpoint.optional])
def test_an_empty_body_where_one_is_needed(world, endpoint):
    world.refused(400, "invalid_request", world.call, endpoint, b"")


# --- Forms -----------------------------------------------------------------------------------------------------------

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
        for name in ("text/html", "application/xml, image/*", "application/vnd.app.v2+json", "nonsense", "a/b; c*=x'y'z")
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
    for endpoint in ENDPOINTS:
        world.refused(status, code, world.call, endpoint, **environ)


@pytest.mark.parametrize("content_type", FORM_TYPES)
def test_a_form_where_only_json_is_taken(world, content_type):
    """A form on another origin's page could send it."""
    for endpoint in (name for name, endpoint in ENDPOINTS.items() if not endpoint.takes_forms):
        world.refused(415, "unsupported_media_type", world.call, endpoint, VALID_FORM, CONTENT_TYPE=content_type)


@pytest.mark.parametrize("size", [64 * 1024 + 1, 10**6])
def test_a_body_that_is_too_large(world, size):
    for endpoint in ENDPOINTS:
        body = world.body(endpoint).ljust(size)

        world.refused(413, "body_too_large", world.call, endpoint, body)


@pytest.mark.parametrize(
    "authorization",
    [
        "", "Token", "Token ", "Token a b", "Token x", "Token \xff", "Token \x00", "Token " + "x" * 8000,
        "Bearer {key}", "Basic e30=", "{key}", "Token {key}x", "Token {key},Token {key}", 'Token "{key}"',
        "Token\u00a0{key}", "Token tok_",
    ],
)  # fmt: skip  # a table: many short values to a line
def test_a_token_that_is_none(world, authorization):
    for endpoint in (name for name, endpoint in ENDPOINTS.items() if endpoint.who):
        sent = authorization.replace("{key}", world.tokens["ada"])

        world.refused(401, "not_authenticated", world.call, endpoint, HTTP_AUTHORIZATION=sent)


@pytest.mark.parametrize(
    "key",
    [
        "", " ", "a b", "\t", "x" * 256, "x" * 8000, "k\xe4se", "a\x00", "a\x7f", "\u0661", "\xa0", "a\n",
        # What two lines become: gunicorn joins them by a comma, others by a comma and a space.
        ",", "k,k", "k, k", "k,", ",k", "k,l,m",
    ],
)  # fmt: skip  # a table: many short values to a line
def test_an_idempotency_key_that_is_none(world, key):
    for endpoint in (name for name, endpoint in ENDPOINTS.items() if endpoint.idempotency_key):
        world.refused(400, "idempotency_key_invalid", world.call, endpoint, HTTP_IDEMPOTENCY_KEY=key)


@pytest.mark.parametrize("endpoint", KEYED)
def test_no_idempotency_key(world, endpoint):
    world.refused(400, "idempotency_key_missing", world.call, endpoint, HTTP_IDEMPOTENCY_KEY=None)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "G\xcbT"])
def test_a_method_that_is_not_known(world, method):
    for endpoint in (name for name, endpoint in ENDPOINTS.items() if endpoint.method != method):
        world.refused(405, "method_not_allowed", world.call, endpoint, method=method, who="ada")


# --- Fields ----------------------------------------------------------------------------------------------------------

TEXTS = [(name, field) for name, endpoint in ENDPOINTS.items() for field in endpoint.text_fields]
NOT_TEXT = {
    "null": None, "a number": 1, "a fraction": 1.5, "true": True, "a list": ["x"], "an object": {"x": "x"},
    "a NUL": "x\x00y", "a control character": "x\x1by", "a line break": "x\ny", "a late control character": "x\x9fy",
    "half a character": "x\ud800y", "nothing but a line break": "\n", "nothing but late control characters": "\x85\x85",
    "nothing but separators": "\x1c\x1d", "a line break behind it": "x\n",
}  # fmt: skip  # a table: many short values to a line


@pytest.mark.parametrize(("endpoint", "field"), TEXTS)
def test_what_is_not_a_line_of_text(world, endpoint, field):
    for value in (*NOT_TEXT.values(), "x" * (ENDPOINTS[endpoint].text_fields[field] + 1)):
        problem = world.refused(400, "invalid_request", world.call, endpoint, world.body(endpoint, **{field: value}))

        assert {error["field"] for error in problem["errors"]} == {field}, value


# Each value is a test of its own, but for those that share a code: they are hundreds.
BAD_VALUES = [
    (name, bad, values)
    for name, endpoint in ENDPOINTS.items()
    for bad in endpoint.bad_values
    for values in ([bad.values] if bad.code else [[value] for value in bad.values])
]


@pytest.mark.parametrize(
    ("endpoint", "bad", "values"), BAD_VALUES, ids=[f"{name}-{bad.field}-{bad.code}" for name, bad, _ in BAD_VALUES]
)
def test_a_value_that_its_field_does_not_take(world, endpoint, bad, values):
    for value in values:
        body = world.body(endpoint, **{bad.field: value})

        problem = world.refused(400, "invalid_request", world.call, endpoint, body)

        assert {error["field"] for error in problem["errors"]} == {bad.field}, value
        assert bad.several or len(problem["errors"]) == 1, value
        assert not bad.code or problem["errors"][0]["code"] == bad.code, value


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
    for endpoint, honoured in ENDPOINTS.items():
        if "{" in honoured.path:
            world.refused(404, "not_found", world.call, endpoint, path=with_id(world, honoured.path, kind))
    for path in READS:
        world.refused(404, "not_found", world.send, "GET", with_id(world, path, kind))


def with_id(world: ApiWorld, path: str, kind: str) -> str:
    """Return the path with a strange id in the place of a real one."""
    before, _, rest = path.partition("{")
    name, _, after = rest.partition("}")
    real = world.names[name]
    return before + STRANGE_IDS[kind].replace("{real}", real).replace("{bare}", real.replace("-", "")) + after


NOWHERE = [
    "/", "//", "/api", "/api/", "/api/v1", "/api/v1/", "/api/v2/users/", "/api/token", "/api/v1/users",
    "/api/v1//users/", "/API/v1/users/", "/api/v1/users/me", "/api/v1/users/me/password", "/api/v1/users.json",
    "/api/v1/users/%2e%2e/users/", "/api/v1/users/;/", "/metrics", "/.env", "/.git/config", "/ping", "/schema", "/%00",
    "/%FF", "/%0d%0aSet-Cookie:x", "/static/%00", "/static/../manage.py", "/static/nothing.css", "/" + "x" * 3000,
]  # fmt: skip  # a table: many short values to a line


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_path_that_leads_nowhere(world, method):
    for path in NOWHERE:
        world.refused(404, "not_found", world.send, method, path)


# --- Parameters of lists ---------------------------------------------------------------------------------------------

LIMITS = [
    "", "0", "-1", "201", "1000", "1e1", "1.0", "+1", "%201", "1%20", "1%0A", "01", "0x1", "1_0", "%D9%A1",
    "%EF%BC%91", "%C2%B2", "NaN", "true", "null", "[]", "1%00", "%00", "9" * 20, "9" * 3000, "1%27", "all",
]  # fmt: skip  # a table: many short values to a line
OF_ANY_LIST = [
    *(f"limit={value}" for value in LIMITS),
    "offset=1", "page=2", "page_size=1000", "ordering=-id", "owner__password=x", "owner__id=1", "format=api",
    "lmit=1", "LIMIT=1", "limit[]=1", "limit=1&limit=1", "limit=1&limit=2", "limit=1&%6Cimit=2", "%00=1", "%FF=1",
    "=1", "x", "__proto__=1", "format=json", "id__in=1", "cursor__gt=1", "token=x", "x=" + "9" * 3000,
    "&".join(f"a{n}=1" for n in range(200)),
]  # fmt: skip  # a table: many short values to a line


@pytest.mark.parametrize("path", [operation.path for operation in LISTS])
def test_a_parameter_that_no_list_honours(world, path):
    for query in OF_ANY_LIST:
        world.refused(400, "invalid_parameter", world.send, "GET", f"{path}?{query}")


@pytest.mark.parametrize("operation", LISTS, ids=[operation.path for operation in LISTS])
def test_a_parameter_that_this_list_does_not_honour(world, operation):
    for query in operation.own_parameters:
        world.refused(400, "invalid_parameter", world.send, "GET", f"{operation.path}?{query}")


@pytest.mark.parametrize("path", [operation.path for operation in LISTS])
@pytest.mark.parametrize("charset", CHARSETS)
def test_a_query_in_another_charset(world, path, charset):
    """A Content-Type would make Django read the query string by it, too."""
    sent = {"CONTENT_TYPE": f"text/plain; charset={charset}"}

    world.refused(415, "unsupported_media_type", world.send, "GET", f"{path}?limit=1", **sent)
