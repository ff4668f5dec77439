"""Fixtures of tests in a real browser: Chromium, a server as `make up` runs it, and a visit to its pages."""

import json
import os
import shutil
from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support import expected_conditions as condition
from selenium.webdriver.support.ui import WebDriverWait

from apps.users.models import User
from tests.factories import PASSWORD, UserFactory
from tests.support.databases import database_url
from tests.support.patience import HANG_S
from tests.support.server import Server


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

    def log_in_to_admin(self, username: str) -> None:
        self.open("/admin/")
        self.type("#id_username", username)
        self.type("#id_password", PASSWORD)
        self.click("input[type=submit]")
        self.wait_for("#user-tools")

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


@pytest.fixture
def superuser(settings) -> User:
    """A member of staff who may do everything, with a password that the server of a laptop can check."""
    # The server knows the hashers of a laptop, not the suite's.
    settings.PASSWORD_HASHERS = ["apps.users.hashers.BoundedArgon2PasswordHasher"]
    return UserFactory(is_staff=True, is_superuser=True)
