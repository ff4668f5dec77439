"""Surfaces of a deployment with production's settings: which URLs, hosts and schemes are served, and which are not."""

import json
from collections.abc import Iterator

import pytest

from tests.factories import UserFactory, token_of
from tests.support.databases import database_url
from tests.support.production import HOST, HTTPS, ME, PRODUCTION, Answer, ask
from tests.support.responses import API_POLICY, EVERYWHERE
from tests.support.server import Server

CLOSED = ["/admin/", "/admin/login/", "/admin/users/user/", "/schema/", "/schema/swagger-ui/"]


@pytest.fixture(scope="module")
def closed(django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[Server]:
    """What a deployment is that opens nothing, behind its load balancer."""
    yield from deployed(django_db_blocker, tmp_path_factory, NUM_PROXIES="1")


@pytest.fixture(scope="module")
def alone(django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[Server]:
    """With no proxy in front of it."""
    yield from deployed(django_db_blocker, tmp_path_factory, NUM_PROXIES="0")


def deployed(django_db_blocker, tmp_path_factory, **environment: str) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("gunicorn") / "log"
    with django_db_blocker.unblock():
        url = database_url()
    with Server(
        url,
        log,
        workers=1,
        threads=4,
        **PRODUCTION | {"DATABASE_URL": url, "DRAIN_SECONDS": "0", "REDIS_URL": ""},
        **environment,
    ) as server:
        yield server
    assert server.complaints() == []


def without_names(answer: Answer) -> tuple:
    """Return an answer without what names the request."""
    problem = json.loads(answer.body)
    problem = {name: value for name, value in problem.items() if name not in {"instance", "request_id"}}
    unnamed = {name: value for name, value in answer.headers.items() if name not in {"X-Request-ID", "Date"}}
    return answer.status, problem, unnamed | {"Content-Length": ""}


def test_docs_and_admin_are_as_unknown_as_anything(closed):
    unknown = without_names(ask(closed, "/nowhere/", **HTTPS))

    assert unknown[0] == 404
    for path in CLOSED:
        for method in ("GET", "POST"):
            assert without_names(ask(closed, path, method, **HTTPS)) == unknown


def test_a_server_says_once_what_it_has_probably_not_been_given(closed, alone):
    def doubts(server: Server) -> list[str]:
        said = [line for line in server.lines() if line.get("logger") == "gunicorn.error"]
        return [line["event"].partition(":")[0] for line in said if line["level"] == "warning"]

    assert doubts(closed) == ["REDIS_URL is not given"]
    assert doubts(alone) == ["NUM_PROXIES is 0", "REDIS_URL is not given"]


class TestHTTPS:
    PATHS = (ME, "/api/token/", "/api/v1/users/", "/api/nowhere/", "/api/")

    @pytest.mark.parametrize("headers", [{}, {"X-Forwarded-Proto": "http"}, {"X-Forwarded-Proto": "http, https"}])
    def test_the_api_is_refused_over_plain_http_and_never_redirected(self, closed, headers):
        for path in self.PATHS:
            for method in ("GET", "POST", "DELETE"):
                answer = ask(closed, path, method, **headers)

                assert (answer.status, answer.code) == (403, "https_required")
                assert "Location" not in answer.headers
                # No token was read, so all get one answer.
                assert "WWW-Authenticate" not in answer.headers

    @pytest.mark.django_db(transaction=True)
    def test_a_token_opens_the_api_over_https(self, closed):
        token = token_of(UserFactory())

        answer = ask(closed, ME, Authorization=f"Token {token}", **HTTPS)

        assert answer.status == 200
        assert {name: answer.headers[name] for name in EVERYWHERE} == EVERYWHERE
        assert set(answer.headers["Content-Security-Policy"].split("; ")) == {" ".join(p) for p in API_POLICY.items()}

    def test_pages_are_redirected_for_good(self, closed):
        for path in ("/schema/swagger-ui/", "/back-office/door-7/login/?next=/x", "/nowhere"):
            answer = ask(closed, path)

            assert (answer.status, answer.headers["Location"]) == (301, f"https://{HOST}{path}")

    @pytest.mark.parametrize("header", ["X-Forwarded-Proto: https", "X-Forwarded-Ssl: on", "X-Forwarded-Protocol: ssl"])
    def test_nobody_is_believed_who_is_no_proxy_of_ours(self, alone, header):
        """Not even at 127.0.0.1, whom gunicorn trusts as it comes."""
        name, _, value = header.partition(": ")

        answer = ask(alone, ME, **{name: value})

        assert (answer.status, answer.code) == (403, "https_required")

    @pytest.mark.parametrize("path", ["/livez/", "/ping/", "/readyz/"])
    @pytest.mark.parametrize("host", ["10.1.2.3", "10.1.2.3:8000", "[fd00::1]:8000", "whatever"])
    def test_probes_come_by_bare_address_and_plain_http(self, closed, alone, path, host):
        for server in (closed, alone):
            answer = ask(server, path, Host=host)

            assert answer.status == 200
            present = EVERYWHERE.keys() - {"Strict-Transport-Security"}
            assert {name: answer.headers[name] for name in present} == {name: EVERYWHERE[name] for name in present}


HOSTS = [
    "evil.example", "evil.app.example.org", "app.example.org.evil.example", "xapp.example.org", "app.example.com",
    "app.example.org@evil.example", "evil.example@app.example.org", "evil.example#app.example.org",
    "app.example.org/evil", "app.example.org\\evil", "app.example.org?evil", "app.example.org:evil",
    "app.example.org:80:80", "app.example.org:-1", "app.example.org, evil.example", "evil.example, app.example.org",
    "app_example.org", "*", ".", "..", ".app.example.org", "app..example.org", "localhost", "127.0.0.1", "10.0.0.1",
    "[::1]", "[::1", "::1", "2130706433", "0x7f.1", "\xe4pp.example.org", "xn--app.example.org",
    "app.example.org%00", "app.example.org%0d%0aX: y", "<script>alert(1)</script>",
]  # fmt: skip  # a table: many short values to a line


@pytest.mark.parametrize("host", HOSTS)
def test_another_host_is_refused_and_never_repeated(closed, host):
    for path in (ME, "/nowhere"):
        # Over plain HTTP as well: a redirect would lead to where the host says.
        for headers in (HTTPS, {"X-Forwarded-Host": HOST, "Forwarded": f"host={HOST}"}):
            answer = ask(closed, path, Host=host, **headers)

            assert (answer.status, answer.code) == (400, "invalid_host")
            assert host.encode("latin-1") not in answer.body or host == "."
            assert "Location" not in answer.headers
