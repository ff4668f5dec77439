"""Name of the product: `make rename NAME=invoicing-platform TITLE="Invoicing"`.

Writes name, title and description in pyproject.toml, the title in the README's first line, and what is generated from them.
All other names are neutral or derived (config/product.py), so there is nothing else to write; what is left for a person is
printed. The work tree has to be clean, so that git can undo everything.

Raises: DevtoolsError for a value that is no good, and for a tree that is not clean; nothing is changed then.
"""

# A command line tool: it prints.
# ruff: noqa: T201

import argparse
import json
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devtools.daemon import DevtoolsError
from devtools.repository import generate, git

PROJECT: Final = Path("pyproject.toml")
NAME: Final = re.compile(r"(?=.{3,24}$)[a-z][a-z0-9]*(-[a-z0-9]+)*", re.ASCII)
MAX_TITLE: Final = 60
MAX_DESCRIPTION: Final = 200
LEFT: Final = """\
Left for you:
  LICENSE, SECURITY.md              the holder of your copyright, and where to report a hole
  .github/CODEOWNERS                your team in the place of @OWNER/team
  README.md, CHANGELOG.md           your words; pyproject.toml has the version
  monitoring/prometheus/prometheus.yml   the repository's address
  apps/core/observability/redaction.py   TOKEN_PREFIX, before the first token is made
See it with `git diff`, run `make check`, and commit."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a product is called, and what it is."""

    name: str
    title: str
    description: str


def current() -> Identity:
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    return Identity(
        name=project["project"]["name"],
        title=project["tool"]["product"]["title"],
        description=project["project"]["description"],
    )


def checked(identity: Identity) -> Identity:
    """Return the identity. Raises: DevtoolsError for a name, title or description that is no good."""
    if not NAME.fullmatch(identity.name):
        raise DevtoolsError(
            f"NAME is {identity.name!r}: it must be of 3 to 24 small letters a-z, digits and single hyphens, begin with "
            "a letter and end with a letter or digit"
        )
    packages = tomllib.loads(Path("poetry.lock").read_text(encoding="utf-8"))["package"]
    if identity.name in {package["name"] for package in packages}:
        raise DevtoolsError(
            f"NAME is {identity.name!r}: poetry.lock has a package of that name, so Poetry would refuse it"
        )
    for key, value, longest in (
        ("TITLE", identity.title, MAX_TITLE),
        ("DESCRIPTION", identity.description, MAX_DESCRIPTION),
    ):
        if not (value.isprintable() and value.strip() == value and 0 < len(value) <= longest):
            raise DevtoolsError(
                f"{key} is {value!r}: it must be of 1 to {longest} printable characters, with no space at its ends"
            )
    return identity


def with_value(project: str, key: str, value: str) -> str:
    """Return pyproject.toml with the value of the first line that sets the key. A JSON string is a TOML string, too."""
    line = f"{key} = {json.dumps(value, ensure_ascii=False)}"
    return re.sub(rf"^{key} = .*$", lambda _: line, project, count=1, flags=re.MULTILINE)


def write(old: Identity, new: Identity) -> None:
    project = PROJECT.read_text(encoding="utf-8")
    for key in ("name", "title", "description"):
        project = with_value(project, key, getattr(new, key))
    PROJECT.write_text(project, encoding="utf-8")
    if current() != new:
        raise DevtoolsError("pyproject.toml has name, title and description in a form that this cannot write")
    readme = Path("README.md")
    first, *rest = readme.read_text(encoding="utf-8").split("\n")
    if first in {f"# {old.name}", f"# {old.title}"}:
        readme.write_text("\n".join([f"# {new.title}", *rest]), encoding="utf-8")


def rename(name: str, title: str, description: str) -> int:
    """Give the product its name, and print what was changed; an empty title or description is made of the name."""
    old = current()
    kept = name == old.name
    title = title or (old.title if kept else name.replace("-", " ").capitalize())
    description = description or (old.description if (kept and title == old.title) else f"The API of {title}.")
    new = checked(Identity(name=name, title=title, description=description))
    if new == old:
        print(f"It is called {name} already ({title}): nothing to change.")
        return 0
    if git("status", "--porcelain"):
        raise DevtoolsError("the work tree has changes: commit or remove them first, so that git can undo this")
    try:
        write(old, new)
        generate()
    except BaseException:
        git("restore", ".")
        raise
    print(f"Renamed: {old.name} ({old.title}) is {new.name} ({new.title}).")
    print(f"Changed: {', '.join(git('diff', '--name-only').split())}.")
    print(LEFT)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make rename",
        usage='make rename NAME=invoicing-platform [TITLE="Invoicing"] [DESCRIPTION="Invoices for small firms."]',
        description="Give the product its name, title and description.",
    )
    parser.add_argument("--name", required=True, help="3 to 24 small letters, digits and hyphens, for programs")
    parser.add_argument("--title", default="", help="for people; without it, it is made of the name")
    parser.add_argument("--description", default="", help="one sentence; without it, it is made of the title")
    options = parser.parse_args()
    if not options.name:
        parser.error("NAME is missing")
    try:
        return rename(options.name, options.title, options.description)
    except DevtoolsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
