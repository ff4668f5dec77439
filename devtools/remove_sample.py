"""Removal of the sample app: `make remove-sample`.

Deletes each tracked path that has the app's name in it (its folders in `apps/`, `tests/` and `docs/`, files that begin with
it), deletes the marked lines of all other files, and generates the generated files again. Lines are marked in comments,
whatever the file's comments look like: by START on the line before and END on the line after, or by LINE at the end of the
line itself. The app's name is `sample` in pyproject.toml's table `tool.product`, which is a marked line, too.

While a merge is under way it settles the merge's conflicts in the sample's files, which are deleted on one side: the name is
then read from the version that is merged. Otherwise the work tree has to be clean, so that `git` can undo everything.

Raises: DevtoolsError for a tree that is not clean, and for a mark without its other half; nothing is changed then.
"""

# A command line tool: it prints, and runs commands, without a shell.
# ruff: noqa: T201, S603

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from devtools.daemon import DevtoolsError
from devtools.repository import generate, git

# In pieces, or this file would mark lines of its own.
START, END, LINE = (f"<{mark}>" for mark in ("sample", "/sample", "sample/"))


def tracked() -> list[str]:
    return sorted({path for path in git("ls-files", "-z").split("\0") if path})


def is_merging() -> bool:
    return Path(git("rev-parse", "--git-path", "MERGE_HEAD").strip()).exists()


def sample_name(*, merging: bool) -> str | None:
    """Return the sample app's name, or None where it has been removed."""
    text = git("show", "MERGE_HEAD:pyproject.toml") if merging else Path("pyproject.toml").read_text()
    name: str | None = tomllib.loads(text).get("tool", {}).get("product", {}).get("sample")
    return name


def belongs_to(path: str, name: str) -> bool:
    """Return whether a part of the path is the app's name, alone or followed by anything but a letter."""
    return any(re.match(rf"(test_)?{re.escape(name)}(?![a-z])", part) for part in Path(path).parts)


def without_marked_lines(text: str, path: str) -> str:
    """Return the text without the marked lines. Raises DevtoolsError for a mark without its other half."""
    kept, started = [], 0
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        if (START in line and started) or (END in line and not started):
            raise DevtoolsError(f"{path}:{number}: {START if started else END} without its other half")
        if START in line:
            started = number
        elif END in line:
            started = 0
        elif not started and LINE not in line:
            kept.append(line)
    if started:
        raise DevtoolsError(f"{path}:{started}: {START} without its other half")
    return "".join(kept)


def marked_files(paths: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each file with marked lines, and its text without them."""
    for path in paths:
        try:
            text = Path(path).read_bytes().decode()
        except (UnicodeDecodeError, IsADirectoryError, FileNotFoundError):
            continue
        if any(mark in text for mark in (START, END, LINE)):
            yield path, without_marked_lines(text, path)


def remove() -> int:
    """Remove the sample, and print what was deleted and changed."""
    merging = is_merging()
    if not merging and git("status", "--porcelain"):
        raise DevtoolsError("the work tree has changes: commit or remove them first, so that git can undo this")
    name = sample_name(merging=merging)
    if name is None:
        print("There is no sample here: nothing to remove.")
        return 0
    deleted = [path for path in tracked() if belongs_to(path, name)]
    edited = dict(marked_files([path for path in tracked() if path not in deleted]))
    for path, text in edited.items():
        Path(path).write_bytes(text.encode())
    if deleted:
        git("rm", "--quiet", "--force", "-r", "--", *deleted)
    if changed := [path for path in edited if path.endswith(".py")]:
        subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", *changed], check=True)
    unmerged = git("diff", "--name-only", "--diff-filter=U").split()
    if not unmerged:
        generate()
        git("add", "--update")
    print(f"Deleted: {len(deleted)} files of the sample app {name}.")
    print(f"Edited: {', '.join(edited) or 'nothing'}.")
    if unmerged:
        print(f"Still in conflict: {', '.join(unmerged)}. Solve that, then run make schema configuration dashboards.")
    else:
        print("Generated again: the OpenAPI document, the configuration's page and lists, the dashboards.")
        print("See it with `git diff --staged --stat`, run `make check`, and commit.")
    return 0


def main() -> int:
    argparse.ArgumentParser(
        prog="make remove-sample",
        description="Remove the sample app: its files, the lines that are marked for it, and what was generated from them.",
    ).parse_args()
    try:
        return remove()
    except DevtoolsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
