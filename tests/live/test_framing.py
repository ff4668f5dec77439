"""HTTP framing: request lines, headers and bodies as bytes on a socket, sent to gunicorn as it is deployed.

gunicorn itself refuses malformed HTTP, in HTML (its 400, 414, 431 and 501); all else is answered with a problem.
"""

import http.client
import json
import socket
from dataclasses import dataclass

import pytest

from tests.notes.urls import KEYED_NOTES, NOTES
from tests.support.endpoints import ENDPOINTS, ApiWorld, rows
from tests.support.operations import Endpoint
from tests.support.patience import HANG_S
from tests.support.server import Server

pytestmark = pytest.mark.django_db

GUNICORNS_OWN = None
BODY = b'{"text": "123456"}'
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)

LENGTH, KEY, TYPE = b"Content-Length: 18", b"Idempotency-Key: k", b"Content-Type: application/json"
HOST = b"Host: 127.0.0.1"

# Each operation that takes a key.
KEYED = {"note": Endpoint(KEYED_NOTES, {"text": "x"})} | {
    name: endpoint for name, endpoint in ENDPOINTS.items() if endpoint.idempotency_key
}


@dataclass(frozen=True)
class Bytes:
    """The bytes that create a note under a key, with some lines left out, added or replaced."""

    status: int
    code: str | None = GUNICORNS_OWN
    without: tuple[bytes, ...] = ()
    plus: tuple[bytes, ...] = ()
    line: bytes = b"POST %s HTTP/1.1"
    body: bytes = BODY

    def raw(self, path: bytes, token: bytes) -> bytes:
        lines = [
            line for line in (HOST, b"Authorization: Token " + token, TYPE, KEY, LENGTH) if line not in self.without
        ]
        return b"\r\n".join([self.line.replace(b"%s", path), *lines, *self.plus, b"", self.body])


def of_type(value: bytes) -> Bytes:
    return Bytes(415, "unsupported_media_type", without=(TYPE,), plus=(b"Content-Type: " + value,))


def of_length(value: bytes, status: int = 400, code: str | None = GUNICORNS_OWN) -> Bytes:
    return Bytes(status, code, without=(LENGTH,), plus=(b"Content-Length: " + value,))


def encoded(value: bytes, status: int = 400, code: str | None = GUNICORNS_OWN) -> Bytes:
    return Bytes(status, code, without=(LENGTH,), plus=(b"Transfer-Encoding: " + value,), body=CHUNKED)


def of_host(value: bytes) -> Bytes:
    return Bytes(400, "invalid_host", without=(HOST,), plus=(b"Host: " + value,))


ODD = {
    "a chunked body": encoded(b"chunked", 411, "length_required"),
    "a compressed body": encoded(b"gzip, chunked", 411, "length_required"),
    "only compressed": encoded(b"gzip"),
    "chunked not last": encoded(b"chunked, identity"),
    "chunked twice": encoded(b"chunked, chunked"),
    "an unknown transfer encoding": encoded(b"xchunked", 501),
    "a length and chunks": Bytes(400, plus=(b"Transfer-Encoding: chunked",), body=CHUNKED),
    "a space before a colon": Bytes(400, without=(LENGTH,), plus=(b"Transfer-Encoding : chunked",), body=CHUNKED),
    "no length": Bytes(400, "invalid_request", without=(LENGTH,)),
    "two lengths": Bytes(400, plus=(b"Content-Length: 5",)),
    "a length twice": Bytes(400, plus=(LENGTH,)),
    "a list of lengths": of_length(b"18, 18"),
    "a negative length": of_length(b"-1"),
    "a signed length": of_length(b"+18"),
    "a hexadecimal length": of_length(b"0x12"),
    "an empty length": of_length(b""),
    "a length in another script": of_length("\u0661\u0668".encode()),
    "100 MB": of_length(b"100000000", 413, "body_too_large"),
    "a length of thirty digits": of_length(b"9" * 30, 413, "body_too_large"),
    "10 MB that are sent": Bytes(413, "body_too_large", (LENGTH,), (b"Content-Length: 10000000",), body=b" " * 10**7),
    "a body that ends too soon": of_length(b"50", 400, "malformed_json"),
    "bare line feeds": Bytes(400, line=b"POST %s HTTP/1.1\nHost: 127.0.0.1\n\n"),
    "a folded header": Bytes(400, plus=(b"X-A: a\r\n b",)),
    "a bare carriage return": Bytes(400, plus=(b"X-A: a\rb",)),
    "NUL in a header": Bytes(400, plus=(b"X-A: \x00",)),
    "a header without a colon": Bytes(400, plus=(b"nonsense",)),
    "a header with a space in its name": Bytes(400, plus=(b"X A: b",)),
    "a header with an underscore": Bytes(400, "idempotency_key_missing", without=(KEY,), plus=(b"Idempotency_Key: k",)),
    "101 headers": Bytes(431, plus=tuple(b"X-%d: 1" % number for number in range(101))),
    "a long header": Bytes(431, plus=(b"X-A: " + b"x" * 9000,)),
    "a long request line": Bytes(414, line=b"POST %s?" + b"x" * 8000 + b" HTTP/1.1"),
    "a method in small letters": Bytes(400, line=b"post %s HTTP/1.1"),
    "a space in the path": Bytes(400, line=b"POST %s x HTTP/1.1"),
    "raw UTF-8 in the path": Bytes(400, line="POST /\u0661 HTTP/1.1".encode()),
    "no slash at first": Bytes(400, line=b"POST api HTTP/1.1"),
    "an asterisk": Bytes(400, line=b"POST * HTTP/1.1"),
    "a tunnel": Bytes(404, "not_found", line=b"CONNECT 127.0.0.1:80 HTTP/1.1"),
    "HTTP/0.9": Bytes(400, line=b"GET %s"),
    "HTTP/2": Bytes(400, line=b"PRI * HTTP/2.0"),
    "HTTP/9.9": Bytes(400, line=b"POST %s HTTP/9.9"),
    "TLS": Bytes(400, line=b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "another's host": of_host(b"evil.example"),
    "a host in eight bits": of_host(b"127.0.0.1\xff"),
    "a host with a path": of_host(b"127.0.0.1/x"),
    "a host with a user": of_host(b"x@127.0.0.1"),
    "two hosts": Bytes(400, plus=(b"Host: evil.example",)),
    "another's host behind a URL of ours": Bytes(
        400, "invalid_host", (HOST,), (b"Host: evil.example",), line=b"POST http://127.0.0.1%s HTTP/1.1"
    ),
    "two tokens": Bytes(401, "not_authenticated", plus=(b"Authorization: Token x",)),
    "two content types": Bytes(400, plus=(TYPE,)),
    "a charset that is no text": of_type(b"application/json; charset=zlib"),
    "a charset of digits": of_type(b"application/json; charset=hex"),
    "a charset that turns letters": of_type(b"application/json; charset=rot13"),
    "a charset that always fails": of_type(b"application/json; charset=undefined"),
    "a charset for a charset": of_type(b"application/json; charset*=x'y'z"),
}


@pytest.fixture(scope="module")
def world(for_all) -> ApiWorld:
    return for_all(ApiWorld)


def answer_to(server: Server, raw: bytes) -> tuple[http.client.HTTPResponse, bytes]:
    """Send the bytes and no more, and return the answer and its body."""
    with socket.create_connection(server.address, timeout=HANG_S) as connection:
        try:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # The answer was there before all was sent; a client that is so long-winded may read it or not.
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response, response.read()


def test_the_bytes_create_a_note_when_nothing_is_odd(notes_server, world):
    response, body = answer_to(notes_server, Bytes(201).raw(**path_and_token(world)))

    assert (response.status, json.loads(body)["text"]) == (201, "123456")


@pytest.mark.parametrize("kind", ODD)
def test_odd_bytes_write_nothing(notes_server, world, kind):
    odd = ODD[kind]
    raw = odd.raw(**path_and_token(world))
    before = rows()

    response, body = answer_to(notes_server, raw)

    assert response.status == odd.status
    if odd.code is GUNICORNS_OWN:
        assert response.headers["Content-Type"] == "text/html"
    else:
        assert response.headers["Content-Type"] == "application/problem+json"
        assert json.loads(body)["code"] == odd.code
    assert rows() == before


def test_headers_for_proxies_and_gateways_are_not_taken_from_clients(notes_server, world):
    """Not even from 127.0.0.1, which gunicorn trusts as it comes."""
    for number, header in enumerate(
        [b"SCRIPT_NAME: /x", b"PATH_INFO: /livez/", b"Script-Name: /x", b"X-Forwarded-Host: x"]
    ):
        odd = Bytes(201, without=(KEY,), plus=(header, b"Idempotency-Key: %d" % number))
        response, body = answer_to(notes_server, odd.raw(**path_and_token(world)))

        assert (response.status, json.loads(body)["text"]) == (201, "123456"), header
        assert response.headers["Location"].startswith(NOTES)


# --- Headers on two lines, which gunicorn joins by a comma (RFC 9110 §5.3) --------------------------------------------


@pytest.mark.parametrize("second", [b"twice", b"another", b"", b"twice,another"])
@pytest.mark.parametrize("operation", KEYED)
def test_a_key_on_two_lines_is_none_so_a_retry_with_one_is_the_first(notes_server, world, operation, second):
    endpoint = KEYED[operation]
    where = {"path": world.fill(endpoint.path).encode(), "token": world.tokens[endpoint.who or "ada"].encode()}
    body = world.fill(json.dumps(endpoint.body)).encode()
    key = b"Idempotency-Key: twice-" + operation.encode() + b"-%d" % len(second)
    before = rows()

    for lines in ((key, b"Idempotency-Key: " + second), (b"Idempotency-Key: " + second, key), (key, key)):
        odd = Bytes(400, without=(KEY, LENGTH), plus=(*lines, b"Content-Length: %d" % len(body)), body=body)
        response, answer = answer_to(notes_server, odd.raw(**where))
        assert (response.status, json.loads(answer)["code"]) == (400, "idempotency_key_invalid")
        assert rows() == before


def test_a_key_twice_and_then_once_creates_once(notes_server, world):
    where = path_and_token(world)
    once, twice = (Bytes(201, without=(KEY,), plus=(b"Idempotency-Key: rent",) * n).raw(**where) for n in (1, 2))

    refused, created, replayed = (answer_to(notes_server, raw)[0] for raw in (twice, once, once))

    assert (refused.status, created.status, replayed.status) == (400, 201, 201)
    assert (created.headers["Idempotent-Replayed"], replayed.headers["Idempotent-Replayed"]) == (None, "true")


ONCE = {
    # Never read as either of the two.
    "tokens, equal": (b"Authorization: Token {token}", 401, "not_authenticated"),
    "a token and none": (b"Authorization: ", 401, "not_authenticated"),
    "hosts, equal": (HOST, 400, GUNICORNS_OWN),
    "types, equal": (TYPE, 400, GUNICORNS_OWN),
    "a type and none": (b"Content-Type: ", 400, GUNICORNS_OWN),
    "lengths, equal": (LENGTH, 400, GUNICORNS_OWN),
    "codings": (b"Content-Encoding: identity\r\nContent-Encoding: identity", 415, "unsupported_media_type"),
    "expectations": (b"Expect: 100-continue\r\nExpect: nonsense", 417, GUNICORNS_OWN),
    # Lists by their grammar, or not read by the application.
    "accepted types": (b"Accept: text/html\r\nAccept: application/json", 201, None),
    "proxies": (b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2", 201, None),
    "schemes": (b"X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http", 201, None),
    "cookies": (b"Cookie: a=b\r\nCookie: c=d", 201, None),
    "origins": (b"Origin: https://a.example\r\nOrigin: https://b.example", 201, None),
    "request ids": (b"X-Request-ID: abcdefgh1\r\nX-Request-ID: abcdefgh2", 201, None),
}


@pytest.mark.parametrize("kind", ONCE)
def test_a_header_on_two_lines(notes_server, world, kind):
    line, status, code = ONCE[kind]
    where = path_and_token(world)
    key = b"Idempotency-Key: " + kind.encode().replace(b" ", b"_").replace(b",", b"")
    odd = Bytes(status, code, without=(KEY,), plus=(key, line.replace(b"{token}", where["token"])))

    response, body = answer_to(notes_server, odd.raw(**where))

    assert response.status == status
    if status == 201:
        # One of several ids is neither's.
        assert response.headers["X-Request-ID"] not in {"abcdefgh1", "abcdefgh2"}
        assert len(response.headers["X-Request-ID"]) == 32
    elif code is not GUNICORNS_OWN:
        assert json.loads(body)["code"] == code


def test_conditions_on_two_lines_are_lists(notes_server, world):
    """RFC 9110 §13.1.1: that is what they are."""
    created = Bytes(201, without=(KEY,), plus=(b"Idempotency-Key: conditions",))
    place = answer_to(notes_server, created.raw(**path_and_token(world)))[0].headers["Location"]

    def get(*conditions: bytes):
        line = b"GET " + place.encode() + b" HTTP/1.1"
        token = b"Authorization: Token " + world.tokens["ada"].encode()
        return answer_to(notes_server, b"\r\n".join([line, HOST, token, *conditions, b"", b""]))[0]

    etag = get().headers["ETag"].encode()

    assert get(b'If-Match: "x"', b"If-Match: " + etag).status == 200
    assert get(b'If-Match: "x"', b'If-Match: "y"').status == 412
    assert get(b'If-None-Match: "x"', b"If-None-Match: W/" + etag).status == 304
    assert get(b"If-None-Match: *", b"If-None-Match: *").status == 304
    assert get(b"If-Unmodified-Since: x", b"If-Unmodified-Since: Sat, 29 Oct 1994 19:43:31 GMT").status == 200


def path_and_token(world: ApiWorld) -> dict[str, bytes]:
    return {"path": KEYED_NOTES.encode(), "token": world.tokens["ada"].encode()}
