"""Security headers that MDN's Observatory requires, on every response of a view, a middleware or a probe."""

import re

import pytest
from django.test import Client

from tests.factories import UserFactory, client_of
from tests.support.responses import ANSWERS, API_POLICY, EVERYWHERE, ME

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _as_deployed(settings):
    settings.SECURE_HSTS_SECONDS = 63_072_000
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")


@pytest.fixture
def https(client) -> Client:
    """An HTTPS client with a token, which gets a response for an exception as a customer does."""
    token = client._credentials["HTTP_AUTHORIZATION"]
    return Client(headers={"Authorization": token, "X-Forwarded-Proto": "https"}, raise_request_exception=False)


def policy_of(response) -> dict[str, str]:
    return dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))


@pytest.mark.parametrize("kind", ANSWERS)
def test_every_answer_carries_the_whole_set(https, monkeypatch, kind):
    status, response = ANSWERS[kind](https, monkeypatch)

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


@pytest.mark.parametrize("path", ["/schema/swagger-ui/", "/admin/login/?next=/admin/", "/admin/", "/admin/users/user/"])
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

    response = https.get(ME, headers={"X-Forwarded-Proto": said})

    assert response.status_code == status
    assert ("Strict-Transport-Security" in response.headers) == (status == 200)
    if status == 403:
        assert response.json()["code"] == "https_required"


def test_there_is_no_hsts_without_tls(client):
    """Browsers must ignore it there (RFC 6797 §7.2), and on a laptop it would lock localhost out."""
    assert "Strict-Transport-Security" not in client_of(UserFactory()).get(ME).headers
