"""`make remove-sample`: marks, names of paths, refusals, and a merge of a version that still has the sample."""

import subprocess

import pytest

from devtools import remove_sample, repository
from devtools.daemon import DevtoolsError
from devtools.repository import git

START, END, LINE = remove_sample.START, remove_sample.END, remove_sample.LINE
PROJECT = f"""[project]
name = "shop"

[tool.product]
title = "Shop"
sample = "shelf" # {LINE}
"""
MAKEFILE = f"""up:
# {START}
books:
\t@true
# {END}
down:
"""


@pytest.mark.parametrize(
    ("path", "belongs"),
    [
        ("apps/shelf/models.py", True),
        ("tests/shelf/test_api.py", True),
        ("monitoring/prometheus/rules/shelf.yml", True),
        ("monitoring/grafana/dashboards/shelf-books.json", True),
        ("tests/live/test_shelf.py", True),
        ("apps/shelfs/models.py", False),
        ("apps/shelf_labels/models.py", False),
        ("docs/bookshelf.md", False),
        ("apps/core/views.py", False),
    ],
)
def test_a_path_belongs_to_the_sample_by_a_part_of_it(path, belongs):
    assert remove_sample.belongs_to(path, "shelf") is belongs


def test_marked_lines_are_cut_and_all_others_kept():
    text = f"a\n# {START}\nb\n# {END}\r\nc\r\nd = 1  # {LINE}\n<!-- {START} -->\n\n<!-- {END} -->\ne"

    assert remove_sample.without_marked_lines(text, "x") == "a\nc\r\ne"


@pytest.mark.parametrize(
    ("text", "place"),
    [(f"a\n# {START}\nb\n", "x:2"), (f"a\nb\n# {END}\n", "x:3"), (f"# {START}\n# {START}\n# {END}\n", "x:2")],
)
def test_half_a_mark_is_refused(text, place):
    with pytest.raises(DevtoolsError, match=f"^{place}: .* without its other half$"):
        remove_sample.without_marked_lines(text, "x")


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A repository with a sample, in which `git(...)` runs; nothing in it is generated."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(repository, "GENERATORS", ())
    for name in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{name}_NAME", "Ada")
        monkeypatch.setenv(f"{name}_EMAIL", "ada@example.org")
    write(tmp_path, "pyproject.toml", PROJECT)
    write(tmp_path, "Makefile", MAKEFILE)
    write(tmp_path, "apps/shelf/models.py", "one\n")
    write(tmp_path, "apps/core/views.py", "one\n")
    write(tmp_path, "docs/openapi.yaml", "paths: {}\n")
    write(tmp_path, "CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- A shelf.\n")
    git("init", "--quiet", "--initial-branch=main")
    commit("start")
    return tmp_path


def write(folder, path, text):
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)


def commit(message):
    git("add", "--all")
    git("commit", "--quiet", "--message", message)


def merge(branch):
    """Return what git prints of a merge that has conflicts."""
    command = ["git", "merge", branch]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_the_sample_is_removed_and_the_change_staged(tree, capsys):
    assert remove_sample.remove() == 0

    assert git("status", "--porcelain").splitlines() == [
        *("M  Makefile", "D  apps/shelf/models.py", "M  pyproject.toml")
    ]
    assert (tree / "Makefile").read_text() == "up:\ndown:\n"
    assert capsys.readouterr().out.startswith(
        "Deleted: 1 files of the sample app shelf.\nEdited: Makefile, pyproject.toml.\n"
    )


def test_the_cache_of_mypy_goes_with_it(tree):
    write(tree, ".mypy_cache/3.11/apps/users/models.meta.json", "{}")
    write(tree, ".gitignore", ".mypy_cache\n")
    commit("ignore")

    remove_sample.remove()

    assert not (tree / ".mypy_cache").exists()


def test_a_second_time_there_is_nothing_to_remove(tree, capsys):
    remove_sample.remove()
    commit("without the sample")
    capsys.readouterr()

    assert remove_sample.remove() == 0
    assert capsys.readouterr().out == "There is no sample here: nothing to remove.\n"
    assert git("status", "--porcelain") == ""


@pytest.mark.parametrize("path", ["apps/shelf/models.py", "apps/shelf/new.py"])
def test_changes_of_the_sample_that_would_be_lost_are_refused(tree, path):
    write(tree, path, "changed\n")

    with pytest.raises(DevtoolsError, match=f"^{path} has changes: commit or remove them first"):
        remove_sample.remove()
    assert (tree / path).read_text() == "changed\n"


def test_other_changes_are_kept(tree):
    """As after `make rename` and `make app`, which leave it to their user to commit."""
    write(tree, "pyproject.toml", PROJECT.replace("Shop", "Store"))
    write(tree, "apps/invoices/models.py", "new\n")

    assert remove_sample.remove() == 0
    assert (tree / "pyproject.toml").read_text() == '[project]\nname = "shop"\n\n[tool.product]\ntitle = "Store"\n'
    assert (tree / "apps/invoices/models.py").exists()


def test_files_that_git_ignores_leave_with_their_folder(tree):
    write(tree, ".gitignore", "__pycache__/\n")
    commit("ignore")
    write(tree, "apps/shelf/__pycache__/models.pyc", "")
    write(tree, "apps/core/__pycache__/views.pyc", "")

    remove_sample.remove()

    assert not (tree / "apps/shelf").exists()
    assert (tree / "apps/core/__pycache__/views.pyc").exists()


def test_the_change_log_announces_what_the_api_loses(tree, monkeypatch):
    write(tree, "docs/openapi.yaml", "paths: {/books/: {get: {}, post: {}}, /me/: {get: {}}}\n")
    commit("an API")
    write_rest = "open('docs/openapi.yaml', 'w').write('paths: {/me/: {get: {}}}')"
    monkeypatch.setattr(repository, "GENERATORS", (("-c", write_rest),))

    remove_sample.remove()

    assert (tree / "CHANGELOG.md").read_text() == (
        "# Changelog\n\n## [Unreleased]\n\n### Removed\n\n- `GET /books/: is gone`\n- `POST /books/: is gone`\n\n"
        "### Added\n\n- A shelf.\n"
    )


def test_a_mark_without_its_other_half_changes_nothing(tree):
    write(tree, "apps/core/views.py", f"# {START}\n")
    commit("half a mark")

    with pytest.raises(DevtoolsError, match=r"^apps/core/views\.py:1: "):
        remove_sample.remove()
    assert git("status", "--porcelain") == ""


def test_a_merge_of_a_version_with_the_sample_is_settled(tree, capsys):
    """The next version changes the sample's files and adds one, and marked lines come in another file."""
    git("checkout", "--quiet", "-b", "template")
    write(tree, "apps/shelf/models.py", "two\n")
    write(tree, "apps/shelf/new.py", "new\n")
    write(tree, "apps/core/views.py", f"one\ntwo\nthree  # {LINE}\n")
    commit("next version")
    git("checkout", "--quiet", "main")
    remove_sample.remove()
    commit("without the sample")
    assert "CONFLICT (modify/delete): apps/shelf/models.py" in merge("template")
    capsys.readouterr()

    assert remove_sample.remove() == 0

    assert git("diff", "--name-only", "--diff-filter=U") == ""
    assert {"Makefile", "apps/core/views.py"} <= {*git("ls-files").split()}
    assert "shelf" not in git("ls-files")
    assert (tree / "apps/core/views.py").read_text() == "one\ntwo\n"
    assert "Still in conflict" not in capsys.readouterr().out


def test_other_conflicts_of_a_merge_are_left_and_named(tree, capsys):
    git("checkout", "--quiet", "-b", "template")
    write(tree, "apps/shelf/models.py", "two\n")
    write(tree, "apps/core/views.py", "theirs\n")
    commit("next version")
    git("checkout", "--quiet", "main")
    remove_sample.remove()
    write(tree, "apps/core/views.py", "ours\n")
    commit("without the sample")
    merge("template")

    assert remove_sample.remove() == 0

    assert git("diff", "--name-only", "--diff-filter=U").split() == ["apps/core/views.py"]
    assert "Still in conflict: apps/core/views.py." in capsys.readouterr().out


def test_conflicts_in_marked_lines_and_in_generated_files_are_settled(tree):
    git("checkout", "--quiet", "-b", "template")
    write(tree, "Makefile", MAKEFILE.replace("@true", "@false").replace("down:", "down: up"))
    write(tree, "docs/openapi.yaml", "paths: {/theirs/: {}}\n")
    commit("next version")
    git("checkout", "--quiet", "main")
    remove_sample.remove()
    write(tree, "docs/openapi.yaml", "paths: {/ours/: {}}\n")
    commit("without the sample")
    merge("template")
    assert remove_sample.in_conflict() == ["Makefile", "docs/openapi.yaml"]

    remove_sample.remove()

    assert remove_sample.in_conflict() == []
    assert (tree / "Makefile").read_text() == "up:\ndown: up\n"
