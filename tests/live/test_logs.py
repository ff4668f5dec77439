"""Logs and Sentry events of a deployment: one shape, enough to find a cause, and no secret or customer data.

A deployment with production's settings and gunicorn's own configuration is driven through success and every kind of failure,
with canaries wherever a secret or a customer's text can be.
"""

import http.client
import json
import re
import secrets
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from django.db import connection

from tests.factories import UserFactory, token_of
from tests.notes.urls import KEYED_NOTES, NOTES
from tests.support.client import Address
from tests.support.databases import database_url
from tests.support.patience import HANG_S
from tests.support.sentry_sink import SentryServer
from tests.support.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

COMMON = {"timestamp", "level", "logger", "event", "request_id", "release", "environment"}
OF_A_REQUEST = {"method", "route", "status", "duration_ms", "user_id"}

THREADS = 24
FAULTS = ("serializer", "view", "statement", "cast", "plain")


def canary(name: str, characters: int = 24) -> str:
    """Return a unique word that no pattern for secrets matches."""
    return f"cnry{name}{secrets.token_hex(characters)}"[:characters]


@dataclass
class Canaries:
    """Values that must be in no log. shown: those that a response to their own customer may repeat."""

    secret_key: str = field(default_factory=lambda: canary("secretkey", 60))
    database_password: str = field(default_factory=lambda: canary("dbpassword"))
    password: str = field(default_factory=lambda: canary("password"))
    wrong_password: str = field(default_factory=lambda: canary("wrong"))
    session: str = field(default_factory=lambda: canary("session"))
    query_token: str = field(default_factory=lambda: canary("query"))
    query_access_token: str = field(default_factory=lambda: canary("access"))
    api_key: str = field(default_factory=lambda: canary("apikey"))
    authorization: str = field(default_factory=lambda: canary("authz"))
    forwarded: str = field(default_factory=lambda: canary("forwarded"))
    agent: str = field(default_factory=lambda: canary("agent"))
    baggage: str = field(default_factory=lambda: canary("baggage"))
    idempotency_key: str = field(default_factory=lambda: canary("idem"))
    body_password: str = field(default_factory=lambda: canary("bodypw"))
    nested_password: str = field(default_factory=lambda: canary("nested"))
    access_token: str = field(default_factory=lambda: canary("bodyaccess"))
    refused_text: str = field(default_factory=lambda: canary("refused"))
    header: str = field(default_factory=lambda: canary("header"))
    host: str = field(default_factory=lambda: canary("host"))
    shown: dict[str, str] = field(
        default_factory=lambda: {name: canary(name) for name in ("email", "text", "username", "path", "unknown")}
    )

    def hidden(self) -> dict[str, str]:
        return {name: value for name, value in vars(self).items() if name != "shown" and value}


@dataclass
class Output:
    """Logs, events, metrics and responses of a deployment while it was driven. answers: request id, status, text."""

    canaries: Canaries
    tokens: list[str] = field(default_factory=list)
    answers: list[tuple[str, int, str]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    log: str = ""
    user_id: str = ""
    metrics: str = ""
    broken_off: list[str] = field(default_factory=list)
    sink: SentryServer = field(default_factory=SentryServer)

    def ids(self, status: int) -> list[str]:
        """Return the ids of the requests that were answered with a status."""
        return [request_id for request_id, got, _ in self.answers if got == status]

    def leaks(self, text: str) -> set[str]:
        """Return the names of the secrets that a text contains."""
        secret = self.canaries.hidden() | self.canaries.shown | {f"token {token[:9]}": token for token in self.tokens}
        return {name for name, value in secret.items() if value in text}


class Driver:
    """Customers, honest and odd, over HTTPS as a proxy passes it on."""

    def __init__(self, address: Address, output: Output) -> None:
        self.address = address
        self.output = output

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict[str, str], str]:
        """Send one request on a connection of its own, with every canary that a header may hold."""
        canaries = self.output.canaries
        sent = {
            "X-Forwarded-Proto": "https",
            "X-Request-Id": uuid.uuid4().hex,
            "Content-Type": "application/json",
            "Cookie": f"__Host-sessionid={canaries.session}; other={canaries.session}",
            "X-Api-Key": canaries.api_key,
            "X-Forwarded-For": f"{canaries.forwarded}, 10.0.0.1",
            "User-Agent": canaries.agent,
            "Baggage": f"sentry-transaction={canaries.baggage},sentry-release={canaries.baggage},x={canaries.baggage}",
            "Sentry-Trace": f"{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-1",
            "Authorization": f"Bearer {canaries.authorization}",
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(*self.address, timeout=HANG_S)
        try:
            text = body if isinstance(body, str) else json.dumps(body)
            connection.request(method, path, None if body is None else text.encode(), sent)
            response = connection.getresponse()
            content = response.read().decode()
        finally:
            connection.close()
        answered = {name.lower(): value for name, value in response.getheaders()}
        assert answered["x-request-id"] == sent["X-Request-Id"]
        self.output.answers.append((sent["X-Request-Id"], response.status, content))
        return response.status, answered, content

    def raw(self, raw: bytes) -> None:
        """Send bytes that gunicorn itself refuses."""
        with socket.create_connection(self.address, timeout=HANG_S) as connection:
            connection.sendall(raw)
            assert b" 400 " in connection.makefile("rb").readline()


def body(canaries: Canaries) -> dict[str, Any]:
    return {
        "password": canaries.body_password,
        "access_token": canaries.access_token,
        "email": canaries.shown["email"],
        "deep": [{"user": {"password": canaries.nested_password}}],
    }


def query(canaries: Canaries) -> str:
    return "?" + urlencode({"token": canaries.query_token, "access_token": canaries.query_access_token})


def log_in(driver: Driver, canaries: Canaries) -> None:
    """Sign up, log in, get it wrong in every way, and be throttled."""
    sign_up = {"username": canaries.shown["username"], "email": canaries.shown["email"] + "@example.org"}
    status, _, _ = driver.ask("POST", "/api/v1/users/" + query(canaries), sign_up | {"password": canaries.password})
    assert status == 201
    status, _, text = driver.ask(
        "POST", "/api/token/", {"username": canaries.shown["username"], "password": canaries.password}
    )
    assert status == 200
    driver.output.tokens.append(json.loads(text)["token"])
    name = canaries.shown["username"]
    for number in range(11):
        status, _, _ = driver.ask("POST", "/api/token/", {"username": name, "password": canaries.wrong_password})
        assert status == (400 if number < 10 else 429)
    # CR and LF in the middle of what is sent.
    odd = name + '\r\n{"level": "critical", "injected": true}\r\n'
    status, _, _ = driver.ask("POST", "/api/token/", {"username": odd, "password": canaries.wrong_password})
    assert status == 400
    status, _, _ = driver.ask(
        "POST",
        "/api/token/" + query(canaries),
        urlencode({"username": name, "password": canaries.wrong_password}),
        Content_Type="application/x-www-form-urlencoded",
    )
    assert status == 429
    status, _, _ = driver.ask("POST", "/api/token/", f'{{"username": "ada", "password": "{canaries.wrong_password}"')
    assert status == 400
    # The admin's own: no CSRF token, and a session that is none.
    status, _, _ = driver.ask("POST", "/admin/login/", f"password={canaries.wrong_password}")
    assert status == 403


def write(driver: Driver, canaries: Canaries, token: str) -> None:
    """Create a note and read, and send requests that are refused for every reason."""
    key = {"Authorization": f"Token {token}", "Idempotency_Key": canaries.idempotency_key}
    note = {"text": canaries.shown["text"]}
    expected = [
        (201, KEYED_NOTES + query(canaries), note),
        (201, KEYED_NOTES, note),
        (422, KEYED_NOTES, {"text": "another"}),
        (400, KEYED_NOTES, {"text": canaries.refused_text * 10}),
        (400, KEYED_NOTES, note | body(canaries)),
        (400, KEYED_NOTES, json.dumps(note)[:-1]),
        (413, KEYED_NOTES, "x" * 70_000),
        (404, f"/{canaries.shown['path']}/%0D%0A%7B%22injected%22%3A%20true%7D/" + query(canaries), note),
    ]
    for status, where, what in expected:
        assert driver.ask("POST", where, what, **key)[0] == status, (status, where)
    assert driver.ask("GET", f"{NOTES}{uuid.uuid4()}/", **key)[0] == 404
    assert driver.ask("GET", f"{NOTES}?cursor={canaries.query_token}", **key)[0] == 400
    assert driver.ask("GET", NOTES, **key)[0] == 200
    assert driver.ask("GET", NOTES, Host=canaries.host)[0] == 400
    assert driver.ask("GET", NOTES)[0] == 401


def break_it(driver: Driver, canaries: Canaries, token: str) -> None:
    """Send requests that meet each fault, and requests that gunicorn itself refuses."""
    for fault in FAULTS:
        headers = {} if fault == "plain" else {"Authorization": f"Token {token}"}
        status, _, text = driver.ask("POST", f"/faulty/{fault}/" + query(canaries), body(canaries), **headers)
        assert (status, json.loads(text)["code"]) == (500, "internal_error")
    assert driver.ask("GET", NOTES + query(canaries), X_Fault=canaries.header)[0] == 500
    driver.raw(f"GET /{query(canaries)}&x={canaries.header} y HTTP/1.1\r\n\r\n".encode())
    driver.raw(f"GET / HTTP/1.1\r\nAuthorization {canaries.header}\r\n\r\n".encode())
    driver.raw(f"{canaries.header} / HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def break_off(driver: Driver, canaries: Canaries) -> None:
    """Begin an answer whose rest never comes."""
    driver.output.broken_off.append(uuid.uuid4().hex)
    with pytest.raises(http.client.HTTPException):
        driver.ask(
            "POST", "/faulty/streaming/" + query(canaries), body(canaries), X_Request_Id=driver.output.broken_off[0]
        )


def lose_the_database(driver: Driver, token: str) -> None:
    """Send a request while the database refuses connections."""
    connection.close()
    name = connection.settings_dict["NAME"]
    # From another database: a session of this one would lock itself out.
    with connection._nodb_cursor() as cursor:
        cursor.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            for path in (NOTES, f"{NOTES}{uuid.uuid4()}/", "/api/v1/users/me/"):
                status, _, text = driver.ask("GET", path, Authorization=f"Token {token}")
                assert (status, json.loads(text)["code"]) == (503, "unavailable")
            assert probe(driver.address, "/ping/") == 503
        finally:
            cursor.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def all_at_once(driver: Driver) -> None:
    """Ask on many threads, each under an id of its own."""
    together = threading.Barrier(THREADS)

    def ask(number: int) -> None:
        together.wait()
        for _ in range(4):
            assert driver.ask("GET", f"/faulty/logging/?n={number}")[0] == 200

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(ask, range(THREADS)))


def probe(address: Address, path: str) -> int:
    connection = http.client.HTTPConnection(*address, timeout=HANG_S)
    connection.request("GET", path, headers={"User-Agent": "probe"})
    status = connection.getresponse().status
    connection.close()
    return status


def with_password(url: str, password: str) -> str:
    """Return the URL with a canary for a password; where the server requires passwords, create a role with it."""
    parts = urlsplit(url)
    if parts.hostname:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE ROLE {password} LOGIN PASSWORD '{password}' IN ROLE CURRENT_USER")
        return parts._replace(netloc=f"{password}:{password}@{parts.hostname}:{parts.port}").geturl()
    return parts._replace(netloc=f"{parts.username}:{password}@").geturl()


@pytest.fixture(scope="module")
def output(django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[Output]:
    """Run a deployment once, and return its output for all tests."""
    canaries = Canaries()
    log: Path = tmp_path_factory.mktemp("gunicorn") / "log"
    with django_db_blocker.unblock():
        url = with_password(database_url(), canaries.database_password)
        user = UserFactory()
        token = token_of(user)
        environment = {
            "DJANGO_SETTINGS_MODULE": "tests.live.faulty.production",
            "SECRET_KEY": canaries.secret_key,
            "DATABASE_URL": url,
            "ALLOWED_HOSTS": "127.0.0.1",
            "SIGN_UP_OPEN": "true",
            "NUM_PROXIES": "1",
            "REVISION": "0123abcd",
            "ADMIN_PATH": "admin/",
            "DATABASE_SSLMODE": "prefer",
        }
        with SentryServer() as sink:
            output = Output(canaries, tokens=[token], sink=sink, user_id=str(user.pk))
            server = Server(
                url, log, workers=2, threads=8, **environment, SENTRY_DSN=sink.dsn, SENTRY_TRACES_SAMPLE_RATE="1"
            )
            with server:
                driver = Driver(server.address, output)
                probes = [probe(server.address, path) for path in ("/ping/", "/livez/", "/readyz/")]
                assert probes == [200, 200, 200]
                log_in(driver, canaries)
                write(driver, canaries, token)
                break_it(driver, canaries, token)
                all_at_once(driver)
                break_off(driver, canaries)
                lose_the_database(driver, token)
                scraped = http.client.HTTPConnection(*server.metrics_address, timeout=HANG_S)
                scraped.request("GET", "/metrics")
                output.metrics = scraped.getresponse().read().decode()
                scraped.close()
        output.lines, output.log = server.lines(), log.read_text()
        yield output
        with connection.cursor() as cursor:
            cursor.execute(f"DROP ROLE IF EXISTS {canaries.database_password}")


class TestLines:
    def test_are_json_of_one_shape(self, output):
        assert [line for line in output.lines if "text" in line] == []
        for line in output.lines:
            assert list(line)[: len(COMMON)] == list(output.lines[0])[: len(COMMON)], line
            assert line.keys() >= COMMON, line
            assert (line["release"], line["environment"]) == ("0123abcd", "production")
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", line["timestamp"])

    def test_of_gunicorns_arbiter_and_workers_are_among_them(self, output):
        said = [line["event"] for line in output.lines if line["logger"] == "gunicorn.error"]
        for words in (
            "Listening at: ",
            "Booting worker with pid",
            "Handling signal: term",
            "Worker exiting",
            "Shutting down",
        ):
            assert any(event.startswith(words) for event in said), words
        refused = Counter(event for event in said if event.startswith("Invalid request"))
        assert refused == {
            "Invalid request: InvalidHTTPVersion": 1,
            "Invalid request: InvalidHeader": 1,
            "Invalid request: InvalidRequestMethod": 1,
        }

    def test_tell_each_request_once_whatever_became_of_it(self, output):
        requests = [line for line in output.lines if line["event"] == "Request finished"]
        statuses = {request_id: status for request_id, status, _ in output.answers}

        assert {line["request_id"]: line["status"] for line in requests if line["request_id"] in statuses} == statuses
        # The one more is the request whose answer broke off.
        assert len(requests) == len(statuses) + 1
        assert all(line.keys() == COMMON | OF_A_REQUEST for line in requests)
        assert all(line["duration_ms"] > 0 for line in requests)

    def test_name_the_route_and_the_user_and_never_the_path(self, output):
        requests = {line["request_id"]: line for line in output.lines if line["event"] == "Request finished"}
        to_routes = {
            route: [line for line in requests.values() if line["route"] == route]
            for route in (KEYED_NOTES, f"{NOTES}<canonical_uuid:note_id>/")
        }

        assert {route: Counter(line["status"] for line in lines) for route, lines in to_routes.items()} == {
            KEYED_NOTES: {201: 2, 422: 1, 400: 3},
            f"{NOTES}<canonical_uuid:note_id>/": {404: 1, 503: 1},
        }
        assert {line["user_id"] for line in to_routes[KEYED_NOTES]} == {output.user_id}
        # Refused before it was anybody's: another host, a body that is too large; and what no route knows.
        assert {line["status"] for line in requests.values() if line["route"] is None} == {400, 404, 413, 500}
        assert {line["user_id"] for line in requests.values()} == {output.user_id, None}

    def test_of_the_audit_log_name_no_names(self, output):
        audit = [line for line in output.lines if line["logger"] == "apps.users.audit_log"]

        assert Counter(line["event"] for line in audit) == {
            "login succeeded": 1,
            "login failed": 10,
            "login limited": 2,
        }
        assert all(line.keys() == COMMON | {"user_id", "channel"} for line in audit)
        assert {line["event"] for line in audit if line["user_id"]} == {"login succeeded"}
        assert len({line["request_id"] for line in audit}) == len(audit)

    def test_have_the_id_of_their_request_whatever_runs_beside_it(self, output):
        seen = [line for line in output.lines if line["event"] == "Seen"]

        assert len(seen) == THREADS * 4 * 3
        assert all(line["request_id"] == line["seen"] for line in seen)
        assert len({line["seen"] for line in seen}) == THREADS * 4

    def test_tell_each_failure_once_with_its_type_and_its_place(self, output):
        failures = {line["request_id"]: line for line in output.lines if line["event"] == "Unhandled exception"}

        assert Counter(line["request_id"] for line in output.lines if "exception" in line) == Counter(
            [*output.ids(500), "-"]  # "-": the answer that broke off, when no middleware was left
        )
        types = [[each["type"].rpartition(".")[2] for each in line["exception"]] for line in failures.values()]
        assert sorted(types) == [
            ["DataError", "InvalidTextRepresentation"],
            ["IntegrityError", "UniqueViolation"],
            ["LookupError"],
            ["RuntimeError"],
            ["RuntimeError", "KeyError"],
            ["ValueError"],
        ]
        for line in failures.values():
            assert line["exception"][0]["frames"][-1].startswith(("tests.live.faulty.urls:", "psycopg.cursor:"))
            assert line["level"] == "error"
        assert "SQLSTATE 23505 said_once" in output.log

    def test_say_why_the_database_is_away(self, output):
        away = [line for line in output.lines if line["event"].startswith("The database did not answer")]

        assert [line["request_id"] for line in away] == output.ids(503)
        assert {line["event"] for line in away} == {"The database did not answer: not currently accepting connections"}

    def test_tell_of_probes_only_that_one_begins_to_fail(self, output):
        """Three probes succeeded, then one failed, and no more were sent."""
        of_probes = [line for line in output.lines if "probe" in line]

        assert [line["probe"] for line in of_probes] == ["ping"]
        assert (of_probes[0]["level"], of_probes[0]["event"]) == ("warning", "Probe failed")
        assert of_probes[0]["failing"] == {"database": "unavailable"}
        assert not [line for line in output.lines if "/ping/" in json.dumps(line)]


class TestSentry:
    def test_is_told_each_bug_once_and_nothing_that_is_an_answer(self, output):
        """Neither a 4xx nor an outage, which has its metrics."""
        assert Counter(event["tags"].get("request_id") for event in output.sink.events()) == Counter(
            [*output.ids(500), *output.broken_off]
        )

    def test_is_told_what_a_developer_needs(self, output):
        for event in output.sink.events():
            error = event["exception"]["values"][-1]
            frame = error["stacktrace"]["frames"][-1]
            assert (event["release"], event["environment"], event["level"]) == ("0123abcd", "production", "error")
            assert re.fullmatch(r"\w+(Error|Violation|Representation)", error["type"])
            assert frame["lineno"]
            assert frame["context_line"].strip()
            assert "vars" not in frame
        named = {event.get("transaction") for event in output.sink.events()}
        assert {"/faulty/view/", "/faulty/statement/", NOTES} <= named

    def test_is_told_the_time_of_each_request_but_a_probes(self, output):
        timed = Counter(each["tags"].get("request_id") for each in output.sink.transactions())

        assert timed == Counter([*(request_id for request_id, _, _ in output.answers), *output.broken_off])
        statements = {span.get("description") for each in output.sink.transactions() for span in each["spans"]}
        assert {"SELECT", "INSERT"} <= statements
        assert all(each["transaction"].startswith("/") for each in output.sink.transactions() if "transaction" in each)


class TestLeaks:
    def test_there_are_none_in_the_logs(self, output):
        assert output.leaks(output.log) == set()
        assert not [line for line in output.lines if "injected" in line]

    def test_there_are_none_in_what_sentry_is_sent(self, output):
        assert len(output.sink.items) > 100
        assert output.leaks("\n".join(output.sink.received)) == set()

    def test_there_are_none_in_the_metrics(self, output):
        assert "django_http_responses_total_by_status_view_method_total" in output.metrics
        assert output.leaks(output.metrics) == set()

    def test_there_are_none_in_the_answers_that_do_not_owe_it(self, output):
        """A response contains the caller's new token, and the text, name and path of the request; never a secret."""
        for _, status, text in output.answers:
            owed = set()
            if status == 200 and '"token"' in text:
                owed = {f"token {output.tokens[-1][:9]}"}
            assert output.leaks(text) - owed - output.canaries.shown.keys() == set(), text
            if status == 500:
                assert output.leaks(text) == set()
