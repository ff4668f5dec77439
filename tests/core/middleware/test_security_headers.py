"""The headers that MDN's Observatory asks of an API, on every answer whoever gave it: a view, a middleware, a probe."""

import re

import pytest
from django.db import OperationalError
from django.test import Client

from apps.core.middleware import probes as health
from apps.core.middleware import request_validation
from apps.users.models import LoginFailures
from tests.factories import PASSWORD, AccountFactory, UserFactory, client_of

pytestmark = pytest.mark.django_db

API_POLICY = {"default-src": "'none'", "frame-ancestors": "'none'", "base-uri": "'none'", "form-action": "'none'"}
EVERYWHERE = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
ACCOUNTS = "/api/v1/accounts/"


@pytest.fixture(autouse=True)
def _as_deployed(settings):
    settings.SECURE_HSTS_SECONDS = 63_072_000
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")


@pytest.fixture
def https(client) -> Client:
    """Somebody with a token, who speaks HTTPS and is not told of exceptions otherwise than a customer is."""
    token = client._credentials["HTTP_AUTHORIZATION"]
    return Client(headers={"Authorization": token, "X-Forwarded-Proto": "https"}, raise_request_exception=False)


def policy_of(response) -> dict[str, str]:
    return dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))


def broken(error):
    def raising(*args):
        raise error

    return raising


class Answers:
    """One request for every status that the API knows, and for everybody who answers."""

    def ok(self, https, monkeypatch):
        return 200, https.get(ACCOUNTS)

    def created(self, https, monkeypatch):
        return 201, https.post(ACCOUNTS, {}, content_type="application/json")

    def unchanged(self, https, monkeypatch):
        place = https.post(ACCOUNTS, {}, content_type="application/json").headers["Location"]
        return 304, https.get(place, headers={"If-None-Match": https.get(place).headers["ETag"]})

    def nothing_to_say(self, https, monkeypatch):
        return 204, https.delete("/api/token/")

    def malformed(self, https, monkeypatch):
        return 400, https.post(ACCOUNTS, "{", content_type="application/json")

    def another_host(self, https, monkeypatch):
        return 400, https.get(ACCOUNTS, headers={"Host": "evil.example"})

    def no_token(self, https, monkeypatch):
        return 401, https.get(ACCOUNTS, headers={"Authorization": "Token x"})

    def forbidden(self, https, monkeypatch):
        monkeypatch.setattr("django.conf.settings.SIGN_UP_OPEN", False)
        body = {"username": "eve", "password": PASSWORD}
        return 403, https.post("/api/v1/users/", body, content_type="application/json")

    def unknown_url(self, https, monkeypatch):
        return 404, https.get("/nowhere")

    def unknown_url_while_debugging(self, https, monkeypatch):
        monkeypatch.setattr("django.conf.settings.DEBUG", True)
        return 404, https.get("/nowhere")

    def unknown_static_file(self, https, monkeypatch):
        return 404, https.get("/static/nothing.css")

    def missing_object(self, https, monkeypatch):
        return 404, https.get(f"{ACCOUNTS}{AccountFactory().pk}/")

    def other_method(self, https, monkeypatch):
        return 405, https.put(ACCOUNTS)

    def other_method_at_a_probe(self, https, monkeypatch):
        return 405, https.post("/livez/")

    def other_type(self, https, monkeypatch):
        return 406, https.get(ACCOUNTS, headers={"Accept": "text/html"})

    def chunked(self, https, monkeypatch):
        return 411, https.get(ACCOUNTS, headers={"Transfer-Encoding": "chunked"})

    def too_large(self, https, monkeypatch):
        return 413, https.post(ACCOUNTS, "x" * 70_000, content_type="application/json")

    def not_json(self, https, monkeypatch):
        return 415, https.post(ACCOUNTS, "x", content_type="text/plain")

    def no_funds(self, https, monkeypatch):
        place = https.post(ACCOUNTS, {}, content_type="application/json").headers["Location"]
        body, key = {"amount": "1.00"}, {"Idempotency-Key": "k"}
        return 422, https.post(f"{place}withdrawals/", body, content_type="application/json", headers=key)

    def too_many_failures(self, https, monkeypatch):
        def log_in():
            body = {"username": "nobody", "password": "wrong"}
            return https.post("/api/token/", body, content_type="application/json")

        log_in()
        LoginFailures.objects.update(count=100)
        return 429, log_in()

    def a_bug(self, https, monkeypatch):
        monkeypatch.setattr("apps.ledger.models.AccountQuerySet.owned_by", broken(RuntimeError()))
        return 500, https.get(ACCOUNTS)

    def a_bug_while_debugging(self, https, monkeypatch):
        monkeypatch.setattr("django.conf.settings.DEBUG", True)
        return self.a_bug(https, monkeypatch)

    def a_bug_in_middleware(self, https, monkeypatch):
        monkeypatch.setattr(request_validation.RequestValidationMiddleware, "_refusal", broken(RuntimeError()))
        return 500, https.get(ACCOUNTS)

    def no_database(self, https, monkeypatch):
        monkeypatch.setattr("apps.ledger.models.AccountQuerySet.owned_by", broken(OperationalError()))
        return 503, https.get(ACCOUNTS)

    def alive(self, https, monkeypatch):
        return 200, https.get("/livez/")

    def ready(self, https, monkeypatch):
        return 200, https.get("/readyz/")

    def ping(self, https, monkeypatch):
        return 200, https.get("/ping/")

    def ping_without_a_database(self, https, monkeypatch):
        monkeypatch.setattr(health.database, "passes", lambda _: False)
        return 503, https.get("/ping/")

    def document(self, https, monkeypatch):
        return 200, https.get("/schema/")


@pytest.mark.parametrize("kind", [name for name in vars(Answers) if not name.startswith("_")])
def test_every_answer_carries_the_whole_set(https, monkeypatch, kind):
    status, response = getattr(Answers(), kind)(https, monkeypatch)

    assert response.status_code == status
    assert policy_of(response) == API_POLICY
    assert response.headers["Cache-Control"] == "no-store"
    assert {name: response.headers.get(name) for name in EVERYWHERE} == EVERYWHERE
    assert "Access-Control-Allow-Origin" not in response.headers


def test_a_static_file_may_be_kept_but_not_by_other_origins(https):
    response = https.get("/static/admin/css/base.css")
    response.close()

    assert response.status_code == 200
    assert policy_of(response) == API_POLICY
    assert {name: response.headers.get(name) for name in EVERYWHERE} == EVERYWHERE
    assert "Access-Control-Allow-Origin" not in response.headers
    assert "no-store" not in response.headers["Cache-Control"]


@pytest.mark.parametrize(
    "path", ["/schema/swagger-ui/", "/admin/login/?next=/admin/", "/admin/", "/admin/ledger/entry/"]
)
def test_a_page_runs_the_scripts_of_this_origin_and_none_inline(https, path):
    https.force_login(UserFactory(is_staff=True, is_superuser=True))

    response = https.get(path, follow=True)

    policy = policy_of(response)
    assert response.status_code == 200
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert "http" not in response.headers["Content-Security-Policy"]
    assert {name: response.headers.get(name) for name in EVERYWHERE} == EVERYWHERE
    assert "no-store" in response.headers["Cache-Control"]
    off_origin = re.findall(r"""(?:src|href|action)=["'](?:https?:)?//[^"']*""", response.text)
    assert off_origin == []


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("https", 200), ("https,https", 200), ("https, https", 200), ("http", 403), ("https,http", 403),
        ("http,https", 403), ("https, http", 403), ("https,", 403), (",https", 403), ("HTTPS", 403), ("", 403),
    ],
)  # fmt: skip  # a table: many short values to a line
def test_a_scheme_on_two_lines_is_the_one_that_both_say(https, settings, said, status):
    settings.SECURE_SSL_REDIRECT = True

    response = https.get(ACCOUNTS, headers={"X-Forwarded-Proto": said})

    assert response.status_code == status
    assert ("Strict-Transport-Security" in response.headers) == (status == 200)
    if status == 403:
        assert response.json()["code"] == "https_required"


def test_there_is_no_hsts_without_tls(client):
    """Browsers must ignore it there (RFC 6797 §7.2), and on a laptop it would lock localhost out."""
    assert "Strict-Transport-Security" not in client_of(UserFactory()).get(ACCOUNTS).headers
