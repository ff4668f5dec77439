"""What must hold before a version goes to production, asked of git alone.

    release.py check v1.2.3     fail with one line, or print commit=<the tag's commit>
    release.py notes v1.2.3     print the version's section of CHANGELOG.md

Whether the commit has an image that passed staging is for the registry to say: `deploy/deploy.py` asks it. Needs the
standard library only.
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
    """The version may not go to production; the message is the one line that the pipeline ends with."""


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git in the checkout."""
    return subprocess.run(["git", *arguments], cwd=ROOT, check=False, text=True, capture_output=True)


def number_of(tag: str) -> str:
    """Return the version without its v."""
    match = VERSION.fullmatch(tag)
    if match is None:
        raise ReleaseError(f"the tag is {tag!r}: it must look like v1.2.3")
    return match[1]


def check(tag: str, main: str) -> str:
    """Return the tag's commit if it is on main and the files there name this version."""
    number = number_of(tag)
    # An annotated tag is an object of its own: ^{commit} is what it points to.
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
        raise ReleaseError(f"{tag} is not the version in its pyproject.toml, which is {declared}")
    notes(tag, file_at(commit, "CHANGELOG.md"))
    return commit


def file_at(commit: str, path: str) -> str:
    """Return a file as it is in a commit."""
    shown = git("show", f"{commit}:{path}")
    if shown.returncode:
        raise ReleaseError(f"commit {commit} has no {path}")
    return shown.stdout


def notes(tag: str, changelog: str) -> str:
    """Return what the change log says of a version."""
    for section in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        if heading.startswith(f"[{number_of(tag)}]") and text.strip():
            return text.strip()
    raise ReleaseError(f"CHANGELOG.md says nothing of {tag}")


def main(arguments: Sequence[str]) -> int:
    """Do one verb."""
    parser = argparse.ArgumentParser(description="Check a version before it goes to production.")
    parser.add_argument("verb", choices=["check", "notes"])
    parser.add_argument("tag")
    parser.add_argument("--main", default="origin/main", help="the branch that releases come from")
    options = parser.parse_args(arguments)
    try:
        if options.verb == "check":
            print(f"commit={check(options.tag, options.main)}")
        else:
            print(notes(options.tag, (ROOT / "CHANGELOG.md").read_text()))
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
