"""Content-Security-Policy and CORS in a real browser: our pages work, and other origins' pages do no more than allowed."""

import contextlib
import json
import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import yaml
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support import expected_conditions as condition
from selenium.webdriver.support.ui import WebDriverWait

from apps.users.models import Token
from tests.factories import PASSWORD, UserFactory, token_of
from tests.ledger.factories import AccountFactory, deposit
from tests.support.databases import database_url
from tests.support.paths import ROOT
from tests.support.patience import HANG_S
from tests.support.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def laptop(django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[Server]:
    """What `make up` serves: the docs and the admin are open, and plain HTTP will do."""
    log = tmp_path_factory.mktemp("gunicorn") / "log"
    with django_db_blocker.unblock():
        url = database_url()
    local = {"DJANGO_SETTINGS_MODULE": "config.settings.local", "DATABASE_URL": url, "DEBUG": "false"}
    with Server(url, log, workers=1, threads=8, **local) as server:
        yield server
    assert server.complaints() == []


@pytest.fixture(scope="module")
def chromium(tmp_path_factory) -> Iterator[WebDriver]:
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if not all(programs.values()):
        missing = "chromium and chromedriver are not in PATH"
        # A pipeline that has no browser proves nothing.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)  # noqa: TID251  CI's own variable
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    for argument in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "window-size=1400,2000",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs["chromedriver"]))
    yield driver
    driver.quit()


class Visit:
    """A walk through the pages of one server, with everything that the browser had to complain about."""

    def __init__(self, browser: WebDriver, server: Server) -> None:
        self.browser = browser
        self.origin = "http://{}:{}".format(*server.address)
        self.requested()
        self.complaints()

    def open(self, path: str) -> str:
        self.browser.get(self.origin + path)
        return self.browser.page_source

    def wait_for(self, selector: str):
        arrived = condition.presence_of_element_located((By.CSS_SELECTOR, selector))
        return WebDriverWait(self.browser, HANG_S).until(arrived)

    def click(self, selector: str) -> None:
        element = self.wait_for(selector)
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        clickable = condition.element_to_be_clickable((By.CSS_SELECTOR, selector))
        WebDriverWait(self.browser, HANG_S).until(clickable).click()

    def type(self, selector: str, text: str) -> None:
        self.wait_for(selector).send_keys(text)

    def all(self, selector: str) -> list:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def complaints(self) -> list[str]:
        severe = [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]
        # Every browser asks for it once, and the admin has none.
        return [message for message in severe if "/favicon.ico - " not in message]

    def requested(self) -> set[str]:
        """Return the URLs requested since the last call, without the browser's internal ones."""
        events = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        urls = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
        return {url for url in urls if not url.startswith(("data:", "chrome:"))}

    def assert_nothing_was_refused_or_foreign(self) -> None:
        assert self.complaints() == []
        requested = self.requested()
        assert len(requested) > 1
        assert {url for url in requested if not url.startswith(self.origin + "/")} == set()


@pytest.fixture
def visit(chromium, laptop) -> Visit:
    chromium.delete_all_cookies()
    return Visit(chromium, laptop)


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


def test_the_admin_shows_the_books_and_changes_none(visit, settings):
    # The server knows the hashers of a laptop, not the suite's.
    settings.PASSWORD_HASHERS = ["apps.users.hashers.BoundedArgon2PasswordHasher"]
    staff = UserFactory(is_staff=True, is_superuser=True)
    account = AccountFactory()
    transaction = deposit(account, "100.00").transaction
    token_of(staff)

    visit.open("/admin/")
    visit.type("#id_username", staff.username)
    visit.type("#id_password", PASSWORD)
    visit.click("input[type=submit]")
    visit.wait_for("#user-tools")
    assert "token" not in visit.browser.page_source.lower().replace("csrfmiddlewaretoken", "")

    pages = {
        "account": account.pk,
        "transaction": transaction.pk,
        "entry": transaction.entries.get().pk,
    }
    for model, key in pages.items():
        assert str(account.pk) in visit.open(f"/admin/ledger/{model}/")
        assert len(visit.all("#result_list tbody tr")) == 1
        assert visit.all("#content .addlink, [name=action], [name=_save]") == []
        assert "100.00" in visit.open(f"/admin/ledger/{model}/{key}/change/")
        assert visit.all(".submit-row input, .deletelink, fieldset input, fieldset select, fieldset textarea") == []

    digest = bytes(Token.objects.get().digest)
    for path in ("/admin/users/user/", f"/admin/users/user/{staff.pk}/change/"):
        page = visit.open(path)
        assert staff.username in page
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
    local = {"DJANGO_SETTINGS_MODULE": "config.settings.local", "DATABASE_URL": url, "DEBUG": "false"}
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
    account = AccountFactory(funded="100.00")
    own = {"Authorization": f"Token {token_of(account.owner)}"}
    page = Page(chromium, named, api)
    path = f"/api/v1/accounts/{account.pk}/"

    paid = {"Idempotency_Key": str(uuid.uuid4())} | own
    first, again = (page.fetch("POST", f"{path}withdrawals/", {"amount": "25.00"}, **paid) for _ in range(2))
    assert (first["status"], again["status"]) == (201, 201)
    assert first["text"] == again["text"]
    assert again["headers"]["idempotent-replayed"] == "true"
    assert first["headers"]["location"].startswith("/api/v1/transactions/")
    assert first["headers"]["x-request-id"]

    shown = page.fetch("GET", path, **own)
    assert (shown["status"], json.loads(shown["text"])["balance"]) == (200, "75.00")
    assert page.fetch("GET", path, If_None_Match=shown["headers"]["etag"], **own)["status"] == 304

    refusals = {
        400: page.fetch("POST", f"{path}deposits/", {"amount": "x"}, **paid),
        401: page.fetch("GET", path, Authorization="Token nobody's"),
        404: page.fetch("GET", f"/api/v1/accounts/{uuid.uuid4()}/", **own),
        405: page.fetch("DELETE", path, **own),
        413: page.fetch("POST", f"{path}deposits/", {"reference": "x" * 70_000}, **paid),
        422: page.fetch("POST", f"{path}withdrawals/", {"amount": "1000.00"}, Idempotency_Key="much", **own),
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


def test_a_page_of_another_origin_reads_nothing_and_moves_no_money(chromium, other, api):
    account = AccountFactory(funded="100.00")
    own = {"Authorization": f"Token {token_of(account.owner)}"}
    page = Page(chromium, other, api)
    path = f"/api/v1/accounts/{account.pk}/"

    answers = [
        page.fetch("GET", path, **own),
        page.fetch("POST", f"{path}withdrawals/", {"amount": "25.00"}, Idempotency_Key="k", **own),
        page.fetch("GET", "/api/v1/accounts/"),
    ]

    assert [answer.keys() for answer in answers] == [{"error"}] * 3
    account.refresh_from_db()
    assert (account.balance, account.version) == (100, 1)


def test_where_no_origin_is_named_no_page_reads(chromium, named, laptop):
    page = Page(chromium, named, laptop)

    assert page.fetch("GET", "/api/v1/accounts/", Authorization="Token x").keys() == {"error"}
    assert page.fetch("GET", "/api/v1/accounts/").keys() == {"error"}


def test_a_page_reads_nothing_but_the_api(chromium, named, api):
    page = Page(chromium, named, api)

    for path in ("/ping/", "/schema/", "/admin/login/"):
        assert page.fetch("GET", path).keys() == {"error"}, path
