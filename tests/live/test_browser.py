"""What only a browser can tell: that the pages work under their Content-Security-Policy and load nothing from elsewhere."""

import json
import os
import shutil
from collections.abc import Iterator

import pytest
import yaml
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support import expected_conditions as condition
from selenium.webdriver.support.ui import WebDriverWait

from apps.users.models import Token
from tests.factories import PASSWORD, AccountFactory, UserFactory, deposit, token_of
from tests.live.conftest import database_url
from tests.live.server import ROOT, Server
from tests.patience import HANG_S

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
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)  # noqa: TID251  what CI says of itself
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
        """Return the URLs that were asked for since the last time, those inside the browser aside."""
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
