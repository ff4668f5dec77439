"""Release checks in git: a version's tag, `pyproject.toml` and CHANGELOG.md must agree before production.

    release.py check v1.2.3     print commit=<the tag's commit>, or fail with one line
    release.py notes v1.2.3     print the version's section of CHANGELOG.md

`deploy/deploy.py` checks in the registry that the commit's image has passed staging. Standard library only: the release
workflow runs this without a virtual environment.
"""

# A command line tool: it prints and runs commands, without a shell.
# ruff: noqa: T201, S603, S607

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSION = re.compile(r"v(\d+\.\d+\.\d+)")


class ReleaseError(Exception):
    """The version cannot be released; the message is the last line of the pipeline's log."""


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git in the checkout."""
    return subprocess.run(["git", *arguments], cwd=ROOT, check=False, text=True, capture_output=True)


def version_number(tag: str) -> str:
    """Return the version without its v."""
    match = VERSION.fullmatch(tag)
    if match is None:
        raise ReleaseError(f"the tag is {tag!r}: it must look like v1.2.3")
    return match[1]


def check(tag: str, main: str) -> str:
    """Return the tag's commit. Raises: unless it is on main and its files name this version."""
    number = version_number(tag)
    # An annotated tag is an object of its own: ^{commit} resolves to the commit it points to.
    found = git("rev-parse", "--verify", "--quiet", f"refs/tags/{tag}^{{commit}}")
    if found.returncode:
        raise ReleaseError(f"there is no tag {tag}")
    commit = found.stdout.strip()
    if git("rev-parse", "--verify", "--quiet", f"{main}^{{commit}}").returncode:
        raise ReleaseError(f"there is no {main} to compare with: fetch it, with its history")
    if git("merge-base", "--is-ancestor", commit, main).returncode:
        raise ReleaseError(f"{tag} is commit {commit}, which is not on {main}")
    declared = tomllib.loads(file_at(commit, "pyproject.toml"))["project"]["version"]
    if declared != number:
        raise ReleaseError(f"{tag} does not match the version in its pyproject.toml, {declared}")
    notes(tag, file_at(commit, "CHANGELOG.md"))
    return commit


def file_at(commit: str, path: str) -> str:
    """Return a file as it is in a commit."""
    shown = git("show", f"{commit}:{path}")
    if shown.returncode:
        raise ReleaseError(f"commit {commit} has no {path}")
    return shown.stdout


def notes(tag: str, changelog: str) -> str:
    """Return the version's section of the change log."""
    for section in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        if heading.startswith(f"[{version_number(tag)}]") and text.strip():
            return text.strip()
    raise ReleaseError(f"CHANGELOG.md has no notes for {tag}")


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="Check a version before it goes to production.")
    parser.add_argument("command", choices=["check", "notes"])
    parser.add_argument("tag")
    parser.add_argument("--main", default="origin/main", help="the branch that releases come from")
    options = parser.parse_args(arguments)
    try:
        if options.command == "check":
            print(f"commit={check(options.tag, options.main)}")
        else:
            print(notes(options.tag, (ROOT / "CHANGELOG.md").read_text()))
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
