"""Content-Security-Policy and CORS in a real browser: our pages work, and other origins' pages do no more than allowed."""

import contextlib
import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import yaml
from django.contrib.admin import site
from selenium.webdriver.remote.webdriver import WebDriver

from apps.users.models import Token
from tests.factories import UserFactory, token_of
from tests.notes.models import Note
from tests.notes.urls import KEYED_NOTES, NOTES
from tests.support.databases import database_url
from tests.support.paths import ROOT
from tests.support.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def test_swagger_ui_shows_every_operation_and_tries_one_out_with_a_token(visit):
    user = UserFactory()
    paths = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())["paths"]

    visit.open("/schema/swagger-ui/")
    visit.wait_for(".opblock")

    assert len(visit.all(".opblock")) == sum(len(methods) for methods in paths.values())
    visit.click("button.authorize")
    visit.type(".modal-ux input", f"Token {token_of(user)}")
    visit.click(".modal-ux button.authorize")
    visit.click(".modal-ux button.btn-done")
    visit.click("[id$=user_me] .opblock-summary-control")
    visit.click("[id$=user_me] .try-out__btn")
    visit.click("[id$=user_me] .execute")
    assert visit.wait_for("[id$=user_me] .live-responses-table tbody .response-col_status").text.startswith("200")
    assert user.username in visit.wait_for("[id$=user_me] .live-responses-table .microlight").text
    visit.assert_nothing_was_refused_or_foreign()


def test_the_admin_shows_every_list_and_no_token(visit, superuser):
    token_of(superuser)

    visit.log_in_to_admin(superuser.username)
    assert "token" not in visit.browser.page_source.lower().replace("csrfmiddlewaretoken", "")

    for model in site._registry:
        visit.open(f"/admin/{model._meta.app_label}/{model._meta.model_name}/")
        assert visit.all("#changelist"), model
    digest = bytes(Token.objects.get().digest)
    for path in ("/admin/users/user/", f"/admin/users/user/{superuser.pk}/change/"):
        page = visit.open(path)
        assert superuser.username in page
        assert digest.hex() not in page
    # Its own scripts ran: they open the date pickers and the toggle of the theme.
    assert visit.all(".datetimeshortcuts")
    visit.assert_nothing_was_refused_or_foreign()


def test_a_script_that_somebody_slipped_in_does_not_run(visit):
    """And the tests above would have seen it."""
    visit.open("/schema/swagger-ui/")
    visit.wait_for(".opblock")
    visit.browser.execute_script(
        """
        const script = document.createElement("script");
        script.textContent = "window.slipped = true";
        document.body.append(script);
        const image = document.createElement("img");
        image.src = "http://127.0.0.2:9/x.png";
        document.body.append(image);
        """
    )

    assert visit.browser.execute_script("return window.slipped") is None
    complaints = " ".join(visit.complaints())
    assert "script-src" in complaints
    assert "img-src" in complaints


# --- Pages of other origins -------------------------------------------------------------------------------------------


class EmptyPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>An application</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def application() -> Iterator[str]:
    """Serve an empty page on a port of its own, and give its origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), EmptyPage) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def named() -> Iterator[str]:
    with application() as origin:
        yield origin


@pytest.fixture(scope="module")
def other() -> Iterator[str]:
    with application() as origin:
        yield origin


@pytest.fixture(scope="module")
def api(named, django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("gunicorn") / "log"
    with django_db_blocker.unblock():
        url = database_url()
    local = {"DJANGO_SETTINGS_MODULE": "tests.notes.local", "DATABASE_URL": url, "DEBUG": "false"}
    with Server(url, log, workers=1, threads=4, CORS_ALLOWED_ORIGINS=named, **local) as server:
        yield server
    assert server.complaints() == []


FETCH = """
const [url, options, done] = arguments;
fetch(url, options).then(
    async (answer) => done({status: answer.status, headers: Object.fromEntries(answer.headers), text: await answer.text()}),
    (error) => done({error: String(error)}),
);
"""


class Page:
    """A page in the browser that calls the API."""

    def __init__(self, browser: WebDriver, origin: str, api: Server) -> None:
        self.browser = browser
        self.api = "http://{}:{}".format(*api.address)
        browser.get(origin)

    def fetch(self, method: str, path: str, body: dict[str, str] | None = None, **headers: str) -> dict[str, Any]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        options: dict[str, Any] = {"method": method, "headers": sent}
        if body is not None:
            options |= {"headers": sent | {"Content-Type": "application/json"}, "body": json.dumps(body)}
        return self.browser.execute_async_script(FETCH, self.api + path, options)


def test_a_page_of_a_named_origin_does_business_and_reads_every_refusal(chromium, named, api):
    own = {"Authorization": f"Token {token_of(UserFactory())}"}
    page = Page(chromium, named, api)

    keyed = {"Idempotency_Key": str(uuid.uuid4())} | own
    first, again = (page.fetch("POST", KEYED_NOTES, {"text": "hello"}, **keyed) for _ in range(2))
    assert (first["status"], again["status"]) == (201, 201)
    assert first["text"] == again["text"]
    assert again["headers"]["idempotent-replayed"] == "true"
    path = first["headers"]["location"]
    assert path.startswith(NOTES)
    assert first["headers"]["x-request-id"]

    shown = page.fetch("GET", path, **own)
    assert (shown["status"], json.loads(shown["text"])["text"]) == (200, "hello")
    assert page.fetch("GET", path, If_None_Match=shown["headers"]["etag"], **own)["status"] == 304

    refusals = {
        400: page.fetch("POST", KEYED_NOTES, {"text": ""}, **keyed),
        401: page.fetch("GET", path, Authorization="Token nobody's"),
        404: page.fetch("GET", f"{NOTES}{uuid.uuid4()}/", **own),
        405: page.fetch("DELETE", path, **own),
        413: page.fetch("POST", KEYED_NOTES, {"text": "x" * 70_000}, **keyed),
        422: page.fetch("POST", KEYED_NOTES, {"text": "another"}, **keyed),
    }
    assert {status: answer.get("status") for status, answer in refusals.items()} == {n: n for n in refusals}
    assert all(json.loads(answer["text"])["status"] == status for status, answer in refusals.items())
    for _ in range(10):
        assert page.fetch("POST", "/api/token/", {"username": "nobody", "password": "wrong"})["status"] == 400
    limited = page.fetch("POST", "/api/token/", {"username": "nobody", "password": "wrong"})
    assert (limited["status"], int(limited["headers"]["retry-after"]) > 0) == (429, True)
    every_header = {"If_Match": '"1"', "X_Request_ID": "a-page-of-ours"} | own
    patched = page.fetch("PATCH", "/api/nowhere", {}, **every_header)
    assert (patched["status"], patched["headers"]["x-request-id"]) == (404, "a-page-of-ours")


def test_a_page_of_another_origin_reads_and_writes_nothing(chromium, other, api):
    user = UserFactory()
    note = Note.objects.create(owner=user, text="hello")
    own = {"Authorization": f"Token {token_of(user)}"}
    page = Page(chromium, other, api)

    answers = [
        page.fetch("GET", f"{NOTES}{note.pk}/", **own),
        page.fetch("POST", KEYED_NOTES, {"text": "another"}, Idempotency_Key="k", **own),
        page.fetch("GET", NOTES),
    ]

    assert [answer.keys() for answer in answers] == [{"error"}] * 3
    assert [each.text for each in Note.objects.all()] == ["hello"]


def test_where_no_origin_is_named_no_page_reads(chromium, named, laptop):
    page = Page(chromium, named, laptop)

    assert page.fetch("GET", "/api/v1/users/me/", Authorization="Token x").keys() == {"error"}
    assert page.fetch("GET", "/api/v1/users/me/").keys() == {"error"}


def test_a_page_reads_nothing_but_the_api(chromium, named, api):
    page = Page(chromium, named, api)

    for path in ("/ping/", "/schema/", "/admin/login/"):
        assert page.fetch("GET", path).keys() == {"error"}, path
