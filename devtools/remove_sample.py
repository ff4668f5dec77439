"""Removal of the sample app: `make remove-sample`.

Deletes each tracked path that has the app's name in it (its folders in `apps/`, `tests/` and `docs/`, files that begin with
it), deletes the marked lines of all other files, generates the generated files again, and announces in the change log what
the API loses. Lines are marked in comments, whatever the file's comments look like: by START on the line before and END on
the line after, or by LINE at the end of the line itself. The app's name is `sample` in pyproject.toml's table
`tool.product`, which is a marked line, too.

While a merge is under way it settles the merge's conflicts in the sample's files, which are deleted on one side, in marked
lines, which are, too, and in generated files; the name is then read from the version that is merged.

Raises: DevtoolsError for changes in the sample's own files, which git could not bring back, and for a mark without its other
half; nothing is changed then.
"""

# A command line tool: it prints, and runs commands, without a shell.
# ruff: noqa: T201, S603

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml

from checks.api_changes import Comparison
from devtools.daemon import DevtoolsError
from devtools.repository import GENERATED, generate, git

OPENAPI: Final = Path("docs/openapi.yaml")
CHANGELOG: Final = Path("CHANGELOG.md")
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
    """Return whether a folder has the app's name, or the file's name begins with it and goes on with no letter."""
    *folders, file = Path(path).parts
    return name in folders or re.match(rf"(test_)?{re.escape(name)}(?![a-z])", file) is not None


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


def refuse_lost_work(name: str) -> None:
    """Raise if a file of the sample has changes that are in no commit."""
    changed = [line[3:] for line in git("status", "--porcelain", "-z", "--no-renames").split("\0")]
    lost = sorted(path for path in changed if path and belongs_to(path, name))
    if lost:
        raise DevtoolsError(f"{lost[0]} has changes: commit or remove them first, so that git can bring it back")


def delete(paths: list[str], name: str) -> None:
    """Delete files, and what is left of the sample's folders: files that git ignores."""
    if paths:
        git("rm", "--quiet", "--force", "-r", "--", *paths)
    for path in paths:
        parts = Path(path).parts
        if name in parts:
            shutil.rmtree(Path(*parts[: parts.index(name) + 1]), ignore_errors=True)
    # mypy's cache has modules that refer to the sample's, and does not see that these are gone.
    shutil.rmtree(".mypy_cache", ignore_errors=True)


def in_conflict() -> list[str]:
    return git("diff", "--name-only", "--diff-filter=U").split()


def settle(path: str) -> None:
    """Merge a file in conflict again, as if the other version and the common one had no marked lines."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / side for side in ("ours", "common", "theirs")]
        for file, stage in zip(files, (2, 1, 3), strict=True):
            file.write_text(without_marked_lines(git("show", f":{stage}:{path}"), path))
        git("merge-file", *map(str, files))
        Path(path).write_text(files[0].read_text())
    git("add", "--", path)


def settle_conflicts() -> list[str]:
    """Settle the conflicts in marked and in generated files; return the files that are still in conflict."""
    left = []
    for path in in_conflict():
        try:
            settle(path)
        except DevtoolsError:
            if path.startswith(GENERATED):
                git("checkout", "--theirs", "--", path)
                git("add", "--", path)
            else:
                left.append(path)
    return left


def announce(before: str) -> None:
    """Add to the change log what clients of the API lose, in the words that `make check-api` looks for."""
    breaks = Comparison(*map(yaml.safe_load, (before, OPENAPI.read_text()))).breaks()
    lines = "".join(f"- `{sentence}`\n" for sentence in breaks)
    heading = "## [Unreleased]\n"
    text = CHANGELOG.read_text()
    if lines and heading in text:
        CHANGELOG.write_text(text.replace(heading, f"{heading}\n### Removed\n\n{lines}", 1))


def remove() -> int:
    """Remove the sample, and print what was deleted and changed."""
    merging = is_merging()
    name = sample_name(merging=merging)
    if name is None:
        print("There is no sample here: nothing to remove.")
        return 0
    if not merging:
        refuse_lost_work(name)
    deleted = [path for path in tracked() if belongs_to(path, name)]
    edited = dict(marked_files([path for path in tracked() if path not in {*deleted, *in_conflict()}]))
    for path, text in edited.items():
        Path(path).write_bytes(text.encode())
    delete(deleted, name)
    unmerged = settle_conflicts()
    if changed := [path for path in edited if path.endswith(".py")]:
        subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", *changed], check=True)
    if not unmerged:
        before = OPENAPI.read_text()
        generate()
        if not merging:
            announce(before)
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
