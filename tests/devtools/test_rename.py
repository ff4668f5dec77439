"""`make rename`: names that are refused, what is written, and a clone of this repository under a long name."""

import subprocess
import sys
import tomllib

import pytest

from devtools import rename, repository
from devtools.daemon import DevtoolsError
from devtools.repository import git
from tests.support.paths import ROOT

OLD = rename.Identity(name="shop", title="Shop", description="A shop.")
PROJECT = """[project]
name = "shop"
version = "1.0.0"
description = "A shop."

[tool.other]
name = "other"

[tool.product]
title = "Shop"
"""
NAME, TITLE = "invoicing-platform-of-24", 'Invoices "of" Ünï & \\Co'


def identity(**fields):
    return rename.Identity(**({"name": "invoicing", "title": "Invoicing", "description": "Invoices."} | fields))


@pytest.mark.parametrize("name", ["abc", "a1b", "invoicing-platform", NAME, "a-b-c"])
def test_names(name):
    assert rename.checked(identity(name=name)).name == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "ab", f"{NAME}s", "Invoicing", "1nvoicing", "-invoicing", "invoicing-", "in--voicing", "in_voicing"),
        *("in voicing", "in.voicing", "invoicing\n", "ünvoicing", "invoicing٣", "$(id)"),
    ],
)
def test_a_name_that_is_no_good_is_refused_with_the_rule(name):
    with pytest.raises(
        DevtoolsError, match=r"^NAME is .*: it must be of 3 to 24 small letters a-z, digits and single "
    ):
        rename.checked(identity(name=name))


def test_the_name_of_a_dependency_is_refused():
    with pytest.raises(DevtoolsError, match=r"^NAME is 'django': poetry\.lock has a package of that name"):
        rename.checked(identity(name="django"))


@pytest.mark.parametrize("key", ["title", "description"])
@pytest.mark.parametrize("value", ["", " ", "Invoicing ", "In\nvoicing", "x" * 201, "\x00", "\x7f", "\u202e"])
def test_titles_and_descriptions_that_are_refused(key, value):
    with pytest.raises(DevtoolsError, match=f"^{key.upper()} is "):
        rename.checked(identity(**{key: value}))


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A repository of a product called shop, in which nothing is generated."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(repository, "GENERATORS", ())
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
    for number, (key, value) in enumerate({"user.name": "Ada", "user.email": "ada@example.org"}.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "poetry.lock").write_text("package = []\n")
    (tmp_path / "README.md").write_text("# shop\n\nThe shop sells.\n")
    git("init", "--quiet", "--initial-branch=main")
    commit()
    return tmp_path


def commit():
    git("add", "--all")
    git("commit", "--quiet", "--message", "Change")


def test_three_values_and_the_readmes_first_line_are_written(tree, capsys):
    assert rename.rename("invoicing", TITLE, "Invoices $5.") == 0

    project = tomllib.loads((tree / "pyproject.toml").read_text())
    assert project == {
        "project": {"name": "invoicing", "version": "1.0.0", "description": "Invoices $5."},
        "tool": {"other": {"name": "other"}, "product": {"title": TITLE}},
    }
    assert (tree / "README.md").read_text() == f"# {TITLE}\n\nThe shop sells.\n"
    out = capsys.readouterr().out
    assert out.startswith(
        f"Renamed: shop (Shop) is invoicing ({TITLE}).\nChanged: README.md, pyproject.toml.\nLeft for you:\n"
    )
    assert "LICENSE" in out
    assert "CODEOWNERS" in out


def test_title_and_description_are_made_of_the_name(tree):
    rename.rename("invoicing-platform", "", "")

    assert rename.current() == identity(
        name="invoicing-platform", title="Invoicing platform", description="The API of Invoicing platform."
    )


@pytest.mark.parametrize(("title", "description"), [("", ""), ("Shop", ""), ("", "A shop."), ("Shop", "A shop.")])
def test_its_own_name_changes_nothing(tree, capsys, title, description):
    assert rename.rename("shop", title, description) == 0

    assert capsys.readouterr().out == "It is called shop already (Shop): nothing to change.\n"
    assert git("status", "--porcelain") == ""


def test_a_title_alone_is_changed(tree):
    rename.rename("shop", "Corner Shop", "A shop.")

    assert rename.current() == rename.Identity(name="shop", title="Corner Shop", description="A shop.")


def test_it_is_renamed_again(tree):
    rename.rename("invoicing", "Invoicing", "")
    commit()
    rename.rename("billing", "", "")

    assert rename.current() == rename.Identity(name="billing", title="Billing", description="The API of Billing.")
    assert (tree / "README.md").read_text().startswith("# Billing\n")


def test_a_readme_of_the_owners_own_is_left_alone(tree):
    (tree / "README.md").write_text("# My own words\n")
    commit()
    rename.rename("invoicing", "", "")

    assert git("diff", "--name-only").split() == ["pyproject.toml"]


@pytest.mark.parametrize("path", ["README.md", "new.py"])
def test_a_tree_with_changes_is_refused_and_left_alone(tree, path):
    (tree / path).write_text("changed\n")

    with pytest.raises(DevtoolsError, match=r"^the work tree has changes: commit or remove them first"):
        rename.rename("invoicing", "", "")
    assert rename.current() == OLD


def test_what_cannot_be_generated_is_said_and_nothing_is_changed(tree, monkeypatch):
    monkeypatch.setattr(repository, "GENERATORS", (("-c", "raise SystemExit('no schema')"),))

    with pytest.raises(DevtoolsError, match="no schema"):
        rename.rename("invoicing", "", "")
    assert git("status", "--porcelain") == ""


def test_outside_a_repository_it_says_what_git_says(tree, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path_factory.mktemp("none")))

    with pytest.raises(DevtoolsError, match="not a git repository"):
        rename.rename("invoicing", "", "")
    assert rename.current() == OLD


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["--name="], 2, "make rename: error: NAME is missing"),
        (["--name=Bad"], 1, "error: NAME is 'Bad': it must be"),
    ],
)
def test_one_line_says_what_is_wrong(arguments, status, line):
    done = subprocess.run(
        [sys.executable, "-m", "devtools.rename", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == status
    assert done.stderr.splitlines()[-1].startswith(line)


@pytest.mark.slow
def test_a_clone_of_this_repository_is_renamed(tmp_path, monkeypatch):
    """The longest name: three files, none of the generated ones out of date, and the old name is nowhere."""
    clone = tmp_path / "clone"
    git("clone", "--quiet", str(ROOT), str(clone))
    monkeypatch.chdir(clone)
    old = rename.current()
    # pytest's, which commands would inherit.
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")

    def run(*command, expected=0):
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
        assert done.returncode == expected, done.stdout + done.stderr
        return done.stdout + done.stderr

    out = run("-m", "devtools.rename", f"--name={NAME}", f"--title={TITLE}")

    changed = git("diff", "--name-only").split()
    assert changed == ["README.md", "docs/openapi.yaml", "pyproject.toml"]
    assert f"Changed: {', '.join(changed)}." in out
    assert f"title: {TITLE} API" in (clone / "docs" / "openapi.yaml").read_text()
    with pytest.raises(DevtoolsError, match="git grep failed"):
        git("grep", "--quiet", "--fixed-strings", "-e", old.name)
    run("-m", "ruff", "check", "--quiet")
    run("-m", "ruff", "format", "--check", "--quiet")
    run("-m", "config.generate", "--check")
    run("-m", "monitoring.dashboards", "--check")
    assert f"It is called {NAME} already " in run("-m", "devtools.rename", f"--name={NAME}")
    assert "the work tree has changes" in run("-m", "devtools.rename", "--name=again", expected=1)
