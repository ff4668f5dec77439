"""Release checks of tags, on real git repositories."""

import subprocess

import pytest

from deploy import release

CHANGELOG = """# Changelog

## [Unreleased]

- Later.

## [1.2.3] - 2026-11-24

### Added

- Withdrawals.

## [1.2.2] - 2026-11-01
"""


class Repository:
    def __init__(self, folder):
        self.folder = folder
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("1.2.3")

    def git(self, *arguments):
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@app.example", "-c", "tag.gpgSign=false"]
        return subprocess.run(
            ["git", *identity, *arguments],  # noqa: S607  wherever it is
            cwd=self.folder,
            check=True,
            text=True,
            capture_output=True,
        ).stdout.strip()

    def commit(self, version, changelog=CHANGELOG):
        (self.folder / "pyproject.toml").write_text(f'[project]\nversion = "{version}"\n')
        (self.folder / "CHANGELOG.md").write_text(changelog)
        self.git("add", ".")
        self.git("commit", "--quiet", "--allow-empty", "--message", version)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.setattr(release, "ROOT", tmp_path)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    return Repository(tmp_path)


@pytest.fixture
def check(capsys):
    def check(tag):
        code = release.main(["check", tag, "--main", "main"])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return check


@pytest.mark.parametrize("kind", [["--annotate", "--message", "1.2.3"], []])
def test_a_tag_on_main_gives_its_commit(repository, check, kind):
    commit = repository.git("rev-parse", "HEAD")
    repository.git("tag", *kind, "v1.2.3")
    repository.commit("1.3.0")

    assert check("v1.2.3") == (0, f"commit={commit}\n", "")


def test_a_tag_beside_main_is_refused(repository, check):
    repository.git("checkout", "--quiet", "-b", "side")
    commit = repository.commit("1.2.3")
    repository.git("tag", "v1.2.3")

    assert check("v1.2.3") == (1, "", f"error: v1.2.3 is commit {commit}, which is not on main\n")


def test_a_tag_that_its_files_contradict_is_refused(repository, check):
    repository.git("tag", "v1.2.2")

    assert check("v1.2.2") == (1, "", "error: v1.2.2 does not match the version in its pyproject.toml, 1.2.3\n")


@pytest.mark.parametrize("changelog", ["# Changelog\n", "# Changelog\n\n## [1.2.30]\n\n- X.\n", "## [1.2.3]\n"])
def test_a_version_without_notes_is_refused(repository, check, changelog):
    repository.commit("1.2.3", changelog)
    repository.git("tag", "v1.2.3")

    assert check("v1.2.3") == (1, "", "error: CHANGELOG.md has no notes for v1.2.3\n")


@pytest.mark.parametrize("tag", ["1.2.3", "v1.2", "v1.2.3-rc1", "v1.2.3; id", "v1.2.3\n"])
def test_a_tag_looks_like_one(repository, check, tag):
    assert check(tag) == (1, "", f"error: the tag is {tag!r}: it must look like v1.2.3\n")


def test_a_tag_that_is_not_there_is_named(repository, check):
    assert check("v9.9.9") == (1, "", "error: there is no tag v9.9.9\n")


def test_a_checkout_without_main_is_told_so(repository, capsys):
    repository.git("tag", "v1.2.3")

    assert release.main(["check", "v1.2.3"]) == 1
    assert capsys.readouterr().err == "error: there is no origin/main to compare with: fetch it, with its history\n"


def test_a_commit_without_the_files_is_named(repository, check):
    repository.git("rm", "--quiet", "pyproject.toml")
    repository.git("commit", "--quiet", "--message", "gone")
    repository.git("tag", "v1.2.3")

    assert "has no pyproject.toml" in check("v1.2.3")[2]


def test_notes_are_the_versions_own(repository, capsys):
    assert release.main(["notes", "v1.2.3"]) == 0
    assert capsys.readouterr().out == "### Added\n\n- Withdrawals.\n"
