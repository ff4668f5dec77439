"""Development server, `docker/entrypoint serve --reload`: it outlives code that cannot be loaded, and serves again."""

import http.client
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.client import Client, NoAnswer, Request
from tests.support.databases import database_url
from tests.support.paths import ROOT
from tests.support.patience import HANG_S, eventually
from tests.support.server import Instance

pytestmark = pytest.mark.slow

PING = Request("GET", "/ping/")


class Laptop(Instance):
    """The application from a copy of its files, which may be changed."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.files, self._options = folder / "checkout", options
        for name in ("apps", "config", "devtools", "docker", "server"):
            shutil.copytree(ROOT / name, self.files / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", self.files)
        super().__init__(database_url(), folder / "log", workers=1, threads=2)

    def launch(self) -> None:
        host, port = self.address
        self._run(str(self.files / "docker" / "entrypoint"), "serve", *self._options, "--bind", f"{host}:{port}")

    def ping(self) -> tuple[int, str]:
        """Return the status and the text; 0 and nothing while no server answers."""
        try:
            with Client(self.address, token=None) as client:
                answer = client.send(PING)
        except NoAnswer:
            return 0, ""
        return answer.status, answer.text

    def fails_with(self, words: str) -> bool:
        assert not self.has_ended, self.log.read_text()[-4000:]
        status, text = self.ping()
        return status == http.client.INTERNAL_SERVER_ERROR and words in text


@pytest.fixture(scope="module")
def laptop(django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[Laptop]:
    with django_db_blocker.unblock(), Laptop(tmp_path_factory.mktemp("laptop"), "--reload") as laptop:
        yield laptop


def appended(words: str) -> Callable[[str], str]:
    return lambda text: f"{text}\n{words}\n"


BREAKS = {
    "a name": ("apps/users/models.py", appended("ths_is_no_name"), "NameError"),
    "a missing import": ("apps/users/models.py", appended("import no_such_module"), "ModuleNotFoundError"),
    "a name of ours that is not there": (
        "apps/users/models.py",
        appended("from apps.core.fields import NoSuchField"),
        "ImportError",
    ),
    "the syntax of the settings": ("config/settings/test.py", appended("def ("), "SyntaxError"),
    "an end of the process in the settings": ("config/settings/base.py", appended("raise SystemExit(3)"), "SystemExit"),
    "a middleware": ("apps/core/middleware/request_log.py", appended("1 / 0"), "ZeroDivisionError"),
    "AppConfig.ready": (
        "apps/users/apps.py",
        appended("UsersConfig.ready = lambda self: 1 / 0"),
        "ZeroDivisionError",
    ),
    "config.wsgi": ("config/wsgi.py", lambda _: "", "config.wsgi"),
    "a file that is gone": ("apps/core/client_address.py", None, "apps.core.client_address"),
}


@pytest.mark.parametrize("what", BREAKS)
def test_what_cannot_be_loaded_is_told_and_it_serves_again_when_it_is_mended(laptop, what):
    name, change, words = BREAKS[what]
    path = laptop.files / name
    good = path.read_text()
    try:
        path.write_text(change(good)) if change else path.unlink()
        eventually(lambda: laptop.fails_with(words), lambda: laptop.log.read_text()[-4000:])
    finally:
        path.write_text(good)

    eventually(lambda: laptop.ping()[0] == http.client.OK, lambda: laptop.log.read_text()[-4000:])
    assert not laptop.has_ended


def test_a_second_mistake_is_told_in_the_first_ones_place(laptop):
    path = laptop.files / "apps" / "users" / "models.py"
    good = path.read_text()
    try:
        for change, words in [
            ("ths_is_no_name", "NameError"),
            ("def (", "SyntaxError"),
            ("1 / 0", "ZeroDivisionError"),
        ]:
            path.write_text(appended(change)(good))
            eventually(lambda words=words: laptop.fails_with(words), lambda: laptop.log.read_text()[-4000:])
    finally:
        path.write_text(good)

    eventually(lambda: laptop.ping()[0] == http.client.OK, lambda: laptop.log.read_text()[-4000:])


def test_a_server_that_starts_with_a_mistake_serves_when_it_is_mended(django_db_setup, django_db_blocker, tmp_path):
    with django_db_blocker.unblock():
        laptop = Laptop(tmp_path, "--reload")
    path = laptop.files / "apps" / "users" / "models.py"
    good = path.read_text()
    path.write_text(appended("ths_is_no_name")(good))
    laptop.launch()
    try:
        eventually(lambda: laptop.fails_with("NameError"), lambda: laptop.log.read_text()[-4000:])
        path.write_text(good)
        laptop.wait_until_it_answers()
        laptop.signal(signal.SIGTERM)
        assert laptop.exit_code(HANG_S) == 0
    finally:
        laptop.__exit__()


def test_without_reload_it_ends_the_process(django_db_setup, django_db_blocker, tmp_path):
    with django_db_blocker.unblock():
        deployed = Laptop(tmp_path)
    with (deployed.files / "apps" / "users" / "models.py").open("a") as models:
        models.write("\nths_is_no_name\n")
    deployed.launch()
    try:
        assert deployed.exit_code(HANG_S) == 3
        assert "NameError" in deployed.log.read_text()
    finally:
        deployed.__exit__()
