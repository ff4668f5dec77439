"""Merges of the next version, as docs/upgrading.md has them, into products made from the last one."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from devtools import rename
from devtools.daemon import DevtoolsError
from devtools.remove_sample import belongs_to, in_conflict, sample_name
from devtools.repository import git
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

# What a person settles, by the page.
SETTLED_BY_HAND = {"README.md", "CHANGELOG.md", "pyproject.toml"}


@pytest.fixture
def versions(tmp_path, monkeypatch):
    """A clone in which `git` runs, on a branch `product` at the last version; `template` is the next version.

    The last version is the commit that set `version` in pyproject.toml. The next one is this repository's HEAD with one more
    commit, so that there is always something to merge: it changes and adds files of the sample, and others.
    """
    try:
        shallow = git("-C", str(ROOT), "rev-parse", "--is-shallow-repository").strip() == "true"
    except DevtoolsError as error:
        pytest.skip(f"no repository, so no versions: {error}")
    if shallow:
        pytest.skip("a shallow clone has no earlier version")
    for number, (key, value) in enumerate({"user.name": "Ada", "user.email": "ada@example.org"}.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
    # pytest's, which commands would inherit.
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    git("clone", "--quiet", str(ROOT), str(tmp_path / "clone"))
    monkeypatch.chdir(tmp_path / "clone")
    last = git("log", "-1", "--format=%H", "-G^version = ", "--", "pyproject.toml").strip()
    then, now = (tomllib.loads(git("show", f"{commit}:pyproject.toml")) for commit in (last, "HEAD"))
    if (then["project"]["name"], then["tool"]["product"]) != (now["project"]["name"], now["tool"]["product"]):
        pytest.skip("a product that was made since the last version: the versions are the template's, not its own")
    git("switch", "--quiet", "--create", "template")
    next_version(sample_name(merging=False))
    git("switch", "--quiet", "--create", "product", last)
    return last


def next_version(sample):
    change("pyproject.toml", 'version = "', 'version = "1')
    change("CHANGELOG.md", "## [Unreleased]\n", "## [Unreleased]\n\n## [Next]\n")
    change("apps/core/errors.py", '"""', '"""Next. ')
    if sample:
        change(f"apps/{sample}/models.py", '"""', '"""Next. ')
        Path(f"tests/{sample}/test_next.py").write_text("")
    git("add", "--all")
    git("commit", "--quiet", "--message", "Next version")


def change(path, old, new):
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new, 1))


def run(*command):
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def merge(*options):
    """Merge the next version; conflicts are for the caller to look at."""
    command = ["git", "merge", "--no-ff", "--no-commit", *options, "template"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or in_conflict(), done.stdout + done.stderr


def commit(message):
    git("commit", "--quiet", "--all", "--message", message)


def settle_by_hand():
    """Keep the product's side of the files that a person settles, and see that there is no other conflict."""
    assert {*in_conflict()} <= SETTLED_BY_HAND
    for path in in_conflict():
        git("checkout", "--ours", "--", path)
    commit("merge")
    assert git("status", "--porcelain") == ""


def test_into_a_renamed_product(versions):
    run("-m", "devtools.rename", "--name=invoicing-platform-of-24", "--title=Invoicing")
    commit("rename")

    merge()
    settle_by_hand()

    assert rename.current().title == "Invoicing"
    assert git("grep", "--name-only", "Next. ", "--", "apps/core").split() == ["apps/core/errors.py"]


def test_into_a_product_without_the_sample(versions):
    sample = sample_name(merging=False)
    if sample is None:
        pytest.skip("this product has no sample")
    run("-m", "devtools.remove_sample")
    commit("remove the sample")

    merge()
    run("-m", "devtools.remove_sample")
    settle_by_hand()

    assert [path for path in git("ls-files").splitlines() if belongs_to(path, sample)] == []
    assert git("grep", "--name-only", "Next. ", "--", "apps/core").split() == ["apps/core/errors.py"]


def test_into_a_product_that_was_made_without_history(versions):
    """GitHub's "Use this template": one commit with all files, and no common one."""
    git("switch", "--quiet", "--orphan", "mine")
    git("checkout", versions, "--", ".")
    commit("Initial commit")
    git("merge", "--quiet", "--allow-unrelated-histories", "--strategy=ours", versions, "-m", "begin with a version")
    assert git("diff", versions) == ""

    merge()

    assert in_conflict() == []
