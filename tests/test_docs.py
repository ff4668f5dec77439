"""Documentation: its links, anchors, paths, make targets, management commands and keys exist, and its commands are run.

A block of commands is run by CI, by tests/live/test_readme.py, or by the tests that the comment above it names (this module
among them); otherwise the comment gives the reason why it is not run.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from django.conf import global_settings
from django.core.management import get_commands
from django.db import connection

from tests.support.databases import database_url
from tests.support.docs import Page, pages
from tests.support.paths import ROOT

PAGES = pages()
HERE = "tests/test_docs.py"
# A changelog keeps the names of its time.
PRESENT = [page for page in PAGES if page.name != "CHANGELOG.md"]
# Text in backticks that begins like a path of the checkout, or is one of its files at the top.
PATH = re.compile(
    r"(?<![\w./-])((?:\.github|\.ci|apps|checks|config|deploy|devtools|docker|docs|monitoring|server|tests)/[\w./-]*\w"
    r"|[\w-]+\.(?:lock|md|toml)|compose\.\w+\.yml)(?![\w*<{/-])"
)
# The app that docs/your-own-product.md makes.
MADE = "invoices"
PLACEHOLDER = re.compile(r"[<…]|/(?!README)[A-Z]{2,}[./]")
MAKE = re.compile(r"(?:^|[`;&(]|\s)make ([a-z][a-z-]*)", re.MULTILINE)
KEY = re.compile(r"(?<![\w$.-])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?![\w(.])")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
each_present_page = pytest.mark.parametrize("page", PRESENT, ids=lambda page: page.name)


def blocks() -> list:
    return [
        pytest.param(page, block, id=f"{page.name}: {block.commands()[0][:40]}")
        for page in PRESENT
        for block in page.blocks()
    ]


MAKEFILE = (ROOT / "Makefile").read_text()


def called_by_ci() -> set[str]:
    """Return the targets that the workflow or .ci/run calls; `check` is all of them."""
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"].values()
    steps = "\n".join(step.get("run", "") for job in jobs for step in job["steps"])
    script = (ROOT / ".ci/run").read_text()
    loop = re.search(r"^for target in (.+); do\n.*make \"\$target\"", script, re.MULTILINE | re.DOTALL)
    check = re.search(r"^check: ([a-z -]+) ##", MAKEFILE, re.MULTILINE)
    assert loop is not None
    assert check is not None
    called = {*MAKE.findall(steps), *MAKE.findall(script), *loop[1].split()}
    return called | ({"check"} if set(check[1].split()) <= called else set())


def run_here() -> list[str]:
    """Return the commands of blocks that are marked as run by this module."""
    marked = [block for page in PRESENT for block in page.blocks() if block.detail == HERE]
    return [command for block in marked for command in block.commands()]


@pytest.fixture(scope="module")
def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


@each_page
def test_links_lead_somewhere(page):
    broken = []
    for link in page.links():
        path, _, anchor = link.partition("#")
        target = (page.path.parent / path).resolve() if path else page.path
        if not target.exists() or (anchor and anchor not in Page(target).anchors()):
            broken.append(link)

    assert broken == []


@each_present_page
def test_paths_exist(page):
    named = {
        path
        for line in page.code().splitlines()
        if not PLACEHOLDER.search(line)
        for path in PATH.findall(line)
        if not list(ROOT.glob(path)) and not (page.path.parent / path).exists() and MADE not in Path(path).parts
    }

    assert named == set()


@each_present_page
def test_make_targets_exist(page, targets):
    assert set(MAKE.findall(page.code())) <= targets


@each_present_page
def test_management_commands_exist(page):
    named = set(re.findall(r"manage\.py ([a-z]\w*)", page.code()))

    assert named <= {*get_commands(), "db_worker"}


@pytest.fixture(scope="module")
def known_keys() -> set[str]:
    """Django's settings, and each word in capitals outside the pages."""
    folders = (".ci", ".github", "apps", "checks", "config", "deploy", "devtools", "docker", "monitoring", "server")
    files = [path for name in folders for path in (ROOT / name).rglob("*") if path.is_file() and path.suffix != ".pyc"]
    files += [ROOT / "Makefile", ROOT / ".env.example", *ROOT.glob("compose.*.yml")]
    text = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files)
    # Read by Django's createsuperuser.
    of_django = {"DJANGO_SUPERUSER_PASSWORD"}
    return {*of_django, *dir(global_settings), *connection.settings_dict, *re.findall(r"\b[A-Z][A-Z0-9_]+\b", text)}


@each_present_page
def test_keys_are_known(page, known_keys):
    assert set(KEY.findall(page.code())) <= known_keys


@pytest.mark.parametrize(("page", "block"), blocks())
def test_commands_are_run_or_marked(page, block):
    if block.mark == "not run":
        assert block.detail
        return
    if block.mark == "run by":
        tests = [ROOT / path for path in block.detail.split(", ")]
        assert [path for path in tests if not path.is_file()] == []
        text = "\n".join(path.read_text() for path in tests)
        for target in MAKE.findall(block.text):
            assert block.detail == HERE or re.search(rf"\b{target}\b|\b{target.replace('-', '_')}\b", text)
        return
    if (page.name, block.language) == ("README.md", "bash"):
        return  # tests/live/test_readme.py

    by_ci = called_by_ci()
    assert {command for command in block.commands() if not set(MAKE.findall(command)) & by_ci} == set()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("command", run_here())
def test_commands_run(command, tmp_path):
    """Run `make` on the test database, with a runtime that runs its commands as they are."""
    runtime = tmp_path / "run"
    runtime.write_text('#!/bin/sh\nshift\nexec "$@"\n')
    runtime.chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # noqa: TID251
    own = {
        "DJANGO_SETTINGS_MODULE": "config.settings.test",
        "TEST_DATABASE_URL": database_url(),
        "PATH": f"{Path(sys.executable).parent}:{inherited['PATH']}",
    }

    done = subprocess.run(
        [*shlex.split(command), f"RUN={runtime}"],
        cwd=ROOT,
        env=inherited | own,
        text=True,
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


INDEXES = [page for page in PAGES if page.path.name == "README.md" and page.name.startswith("docs/")]


@pytest.mark.parametrize("index", INDEXES, ids=lambda page: page.name)
def test_an_index_lists_its_folder(index):
    folder = index.path.parent
    listed = {(folder / link.partition("#")[0]).resolve() for link in index.links()}
    there = {*folder.glob("*.md"), *folder.glob("*/README.md")} - {index.path}

    assert there <= listed


def test_the_map_has_every_room():
    rooms = {
        f"{line.split('/')[0]}/"
        for line in re.findall(r"^[\w.]+/", (ROOT / "docs/layout.md").read_text(), re.MULTILINE)
    }
    # In a container the tree may belong to somebody else.
    command = ["git", "-c", "safe.directory=*", "ls-files"]
    tracked = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    assert {f"{path.split('/')[0]}/" for path in tracked.splitlines() if "/" in path} == rooms


def test_the_readme_is_read_in_a_minute():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


class TestPage:
    """The reading of pages itself."""

    @pytest.fixture
    def page(self, tmp_path):
        def page(text: str) -> Page:
            path = tmp_path / "page.md"
            path.write_text(text)
            return Page(path)

        return page

    def test_marks_belong_to_the_block_below(self, page):
        blocks = page(
            "<!-- not run: needs\nan account -->\n```console\nmake deploy  # now\n```\n\n```bash\na |\n  b\n```\n"
            "1. x\n\n   <!-- run by: tests/a.py -->\n   ```sh\n   make up\n   ```\n\n```python\nprint()\n```\n"
        ).blocks()

        assert [(b.mark, b.detail, b.commands()) for b in blocks] == [
            ("not run", "needs an account", ["make deploy"]),
            ("", "", ["a | b"]),
            ("run by", "tests/a.py", ["make up"]),
        ]

    def test_anchors_are_githubs(self, page):
        text = "# A page: `make up`, or [not](x)?\n## Same\n## Same\n```\n# no heading\n```\n"

        assert page(text).anchors() == {"a-page-make-up-or-not", "same", "same-1"}

    def test_links_in_blocks_are_none(self, page):
        assert page("[a](b.md#c) ![d](e.png)\n```\n[f](g)\n```\n<https://h> [i](https://j)\n").links() == [
            "b.md#c",
            "e.png",
        ]
