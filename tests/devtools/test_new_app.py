"""`make app`: names that are refused, and apps of names of many lengths: formatted, linted, typed, migrated, tested."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from devtools import new_app
from devtools.daemon import DevtoolsError
from devtools.embedded_postgres import Cluster
from devtools.new_app import NewApp
from tests.support.paths import ROOT
from tests.support.patience import HANG_S

INVOICES = ("invoices", "Invoice")
LONG = ("intercontinental_air_shipments", "IntercontinentalAirShipment")
NAMES = [
    INVOICES,
    ("bills", "Bill"),
    ("purchase_orders", "PurchaseOrder"),
    ("vat_rates", "VATRate"),
    ("entries_of_2026", "EntryOf2026"),
    # Names of a method and of a dictionary's.
    ("posts", "Post"),
    ("items", "Item"),
    LONG,
]


PATCH = re.compile(r"^```diff\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BAD_NAMES = ["", "Invoices", "in-voices", "_in", "in__voices", "in_", "1s", "é", "in voices", "../in", "x" * 31]
BAD_MODELS = ["", "invoice", "In_voice", "In-voice", "1nvoice", "É", "In voice", "X" + "x" * 30, "XaBc" * 6]


@pytest.mark.parametrize(
    ("name", "model", "reason"),
    [
        *((name, "Invoice", "NAME has at most") for name in BAD_NAMES),
        *(("invoices", model, "MODEL is a class") for model in BAD_MODELS),
        ("invoice", "Invoice", "NAME is the plural"),
        ("class", "Gadget", "class is a name of Python"),
        ("lists", "List", "list is a name of Python"),
        ("bodies", "Body", "body is a name of Python or of the code"),
        ("clients", "Client", "client is a name of Python or of the code"),
        ("links", "Url", "url is a name of Python or of the code"),
        ("my_uuids", "UUID", "uuid is a name of Python or of the code"),
        ("users", "Person", "a folder in apps/ or tests/"),
        ("support", "Ticket", "a folder in apps/ or tests/"),
        ("calendar", "Date", "or a Python package"),
        ("redis", "Lock", "or a Python package"),
        ("auth", "Login", "an app of the name auth"),
        ("members", "User", "a model of the name User already, in apps.users"),
        ("entries", "Logentry", "a model of the name Logentry already, in django.contrib.admin"),
        ("tokens", "Me", "a URL of the name me"),
    ],
)  # fmt: skip  # a table: many short values to a line
def test_a_name_that_is_bad_or_taken_is_refused_with_a_sentence(name, model, reason):
    refusal = next(NewApp(name, model).refusals())

    assert reason in refusal
    assert refusal.endswith(".")


# A product may have made one of them.
@pytest.mark.parametrize(("name", "model"), [names for names in NAMES if not (ROOT / "apps" / names[0]).exists()])
def test_a_name_that_is_neither_passes(name, model):
    assert list(NewApp(name, model).refusals()) == []


def test_a_refused_name_writes_nothing(capsys, monkeypatch):
    before = sorted((ROOT / "apps").iterdir())
    monkeypatch.setattr(sys, "argv", ["new_app", "users", "Person"])

    assert new_app.main() == 1
    assert capsys.readouterr().err.startswith("error: There is a folder")
    assert sorted((ROOT / "apps").iterdir()) == before


def test_a_file_without_the_line_before_the_new_one_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    urls = Path("config/urls.py")
    urls.parent.mkdir()
    urls.write_text("urlpatterns = []\n")

    with pytest.raises(DevtoolsError, match=r"config/urls\.py has no line"):
        NewApp("invoices", "Invoice").entry(urls)


@pytest.mark.parametrize(("name", "model"), NAMES)
def test_what_is_written_is_formatted_and_passes_the_linter(tmp_path, monkeypatch, name, model):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder in ("apps", "tests"):
        (tmp_path / folder).mkdir()

    monkeypatch.chdir(tmp_path)

    NewApp(name, model).render()

    for command in (["check"], ["format", "--check"]):
        result = ruff(*command)
        assert result.returncode == 0, result.stdout
    written = [path.read_text() for path in tmp_path.rglob("*.py")]
    assert len(written) == len(list(new_app.TEMPLATE.rglob("*.py-tpl")))
    assert not [text for text in written if re.search(r"\{[{%]|TODO|\binvoice", text) and name != "invoices"]


def ruff(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ruff", *arguments, "--no-cache", "apps", "tests"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_new_apps_pass_every_check_in_a_copy(tmp_path):
    """One gets amounts by the patch in docs/your-own-product.md, one has the longest name; nothing else is edited.

    The commands are those of `make migrate makemigrations schema lint types check-migrations test`.
    """
    if (ROOT / "apps/invoices").exists():
        pytest.skip("this product has invoices of its own")
    copy = tmp_path / "copy"
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True)  # noqa: S607  wherever it is
    for path in filter(None, listed.split("\0")):
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, copy / path)
    cluster = Cluster("test", copy)
    cluster.start()
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings.test", "TEST_DATABASE_URL": cluster.url}  # noqa: TID251  for children
    programs = Path(sys.executable).parent

    def passes(*command: str | Path, standard_input: str = "") -> None:
        done = subprocess.run(
            command,
            cwd=copy,
            env=env,
            input=standard_input,
            capture_output=True,
            text=True,
            check=False,
            timeout=20 * HANG_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def python(*arguments: str) -> None:
        passes(sys.executable, *arguments)

    try:
        for names in (INVOICES, LONG):
            python("-m", "devtools.new_app", *names)
        python("manage.py", "migrate")
        passes("git", "apply", standard_input=PATCH.search((copy / "docs" / "your-own-product.md").read_text())[1])
        python("manage.py", "migrate", "invoices", "zero")
        (copy / "apps" / "invoices" / "migrations" / "0001_initial.py").unlink()
        python("manage.py", "makemigrations", "--no-header", "invoices")
        python("manage.py", "migrate")
        python("manage.py", "spectacular", "--validate", "--fail-on-warn", "--file", "docs/openapi.yaml")
        passes(programs / "ruff", "check")
        passes(programs / "ruff", "format", "--check")
        passes(programs / "lint-imports")
        passes(programs / "mypy")
        python("-m", "checks.docstrings")
        python("-m", "checks.imports_in_tests")
        python("manage.py", "makemigrations", "--check", "--dry-run")
        python("-m", "checks.migrations")
        own = [f"tests/{name}" for name, _ in (INVOICES, LONG)]
        # `make check-template` runs the others.
        generic = ["tests/config/test_access.py", "tests/core/test_query_counts.py", "tests/core/test_declarations.py"]
        python("-m", "pytest", "--ds", "tests.settings.test", "-q", "-m", "not slow and not long", *own, *generic)
    finally:
        cluster.remove()
