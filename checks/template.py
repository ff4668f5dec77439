"""The template's own promise: `make rename`, `make app` and `make remove-sample`, in every order, leave a tree that passes.

    python -m checks.template

Each order runs once in a fresh clone of HEAD. The first clone runs the checks after each of its steps: lint, types, the
generated files, migrations, and the fast tests with their coverage gate, by the Makefile's own targets in the packages of
this environment. Every other order has to end with the same files as the first, so that its checks would be the same, or
runs them, too. Needs the test database; takes up to 25 minutes on 2 cores.
"""

# A command line tool: it prints, and runs commands in an environment of its own, without a shell.
# ruff: noqa: T201, TID251, S603

import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from itertools import permutations
from pathlib import Path
from typing import Final

from devtools import embedded_postgres

ROOT: Final = Path(__file__).resolve().parent.parent
NAME: Final = "invoicing-platform-of-24"
STEPS: Final = {
    "rename": ("devtools.rename", f"--name={NAME}", "--title=Invoicing"),
    "app": ("devtools.new_app", "invoices", "Invoice"),
    "remove-sample": ("devtools.remove_sample",),
}
TARGETS: Final = ("lint", "types", "check-schema", "check-dashboards", "check-migrations", "test")
# In the place of devtools/run, whose first argument names the database: the packages and the database are here already.
RUN: Final = "RUN=sh -c 'shift; exec \"$$@\"' sh"
# How many files a step may change that are not its own.
MAX_CHANGED: Final = {"rename": 12, "app": 12, "remove-sample": 10}
# Change log and generated files are no files with marked lines.
NOT_MARKED: Final = re.compile(r"CHANGELOG\.md|docs/(openapi\.yaml|configuration\.md)|\.env\.example|compose\.\w+\.yml")
# Spelt so that they are not found here.
SAMPLE_WORDS: Final = "b[a]nk|l[e]dger|m[o]ney"
# The change log, the package of amounts with what refers to it, and hashes of a lock file.
MAY_HAVE_THEM: Final = re.compile(r"CHANGELOG\.md:|[^:]*lock\.json:|[^:]*core/money/|.*core[./]money|.*money_field")


class CheckError(Exception):
    """A promise that is broken; the text is for the developer."""


class Copy:
    """A clone of HEAD in which steps and checks run."""

    def __init__(self, folder: Path, order: tuple[str, ...]) -> None:
        self.folder = folder
        self.order = order
        self.title = ", ".join(order)
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            # A clone would look for a server of its own.
            "TEST_DATABASE_URL": os.environ.get("TEST_DATABASE_URL") or embedded_postgres.url("test"),
            **{f"GIT_{who}_NAME": "Template" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "template@example.org" for who in ("AUTHOR", "COMMITTER")},
        }
        self.run("git", "clone", "--quiet", str(ROOT), str(folder), cwd=ROOT)

    def run(self, *command: str, cwd: Path | None = None) -> str:
        """Run a command, and return what it prints. Raises: CheckError with all of it."""
        done = subprocess.run(
            command, cwd=cwd or self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CheckError(f"{self.title}: {' '.join(command)} failed\n{done.stdout}{done.stderr}")
        return done.stdout

    def step(self, step: str) -> None:
        """Run a step, and hold the number of files that it changes to the promised one."""
        self.commit()
        self.run("python", "-m", *STEPS[step])
        changed = self.run("git", "diff", "HEAD", "--name-only", "--diff-filter=M").split()
        marked = [path for path in changed if not NOT_MARKED.fullmatch(path)]
        print(f"{self.title}: {step} changed {len(marked)} files: {', '.join(marked)}", flush=True)
        if len(marked) > MAX_CHANGED[step]:
            raise CheckError(f"{self.title}: {step} changed more than {MAX_CHANGED[step]} files")

    def commit(self) -> str:
        """Commit everything, and return the id of the files' content."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", "Step")
        return self.run("git", "rev-parse", "HEAD^{tree}").strip()

    def check(self) -> None:
        """Run the Makefile's checks, and print the last line of each with its time."""
        for target in TARGETS:
            started = time.monotonic()
            output = self.run("make", "--no-print-directory", RUN, target).strip()
            print(
                f"{self.title}: make {target}, {time.monotonic() - started:.0f} s. {output[output.rfind(chr(10)) + 1 :]}"
            )

    def chain(self) -> None:
        """Run the steps as a new owner would, one after the other without a commit, where the first of them renames."""
        for step in self.order:
            self.run("python", "-m", *STEPS[step])

    def check_words(self) -> None:
        """Raise if a word of the sample is left."""
        # The name finds at least one line, and git grep fails where there is none.
        lines = self.run("git", "grep", "-IinE", "-e", SAMPLE_WORDS, "-e", NAME).splitlines()
        left = [
            line for line in lines if re.search(SAMPLE_WORDS, line, re.IGNORECASE) and not MAY_HAVE_THEM.match(line)
        ]
        if left:
            raise CheckError("\n".join([f"{self.title}: words of the sample are left", *left]))


def check_orders(folder: Path) -> None:
    """Run every order. Raises: CheckError."""
    first, *others = permutations(STEPS)
    copy = Copy(folder / "0", first)
    for step in first:
        copy.step(step)
        copy.check()
    expected = copy.commit()
    copy.check_words()
    chained = Copy(folder / "chained", first)
    chained.chain()
    for number, order in enumerate(others, start=1):
        copy = Copy(folder / str(number), order)
        for step in order:
            copy.step(step)
        compare(copy, expected)
    chained.title += " without a commit"
    compare(chained, expected)


def compare(copy: Copy, expected: str) -> None:
    """Run the checks unless the files are those that have passed them."""
    if copy.commit() == expected:
        print(f"{copy.title}: the same files as above", flush=True)
    else:
        copy.check()
        copy.check_words()


def main() -> int:
    if "sample" not in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["product"]:
        print("There is no sample here: this is a product of its own, and no longer the template.")
        return 0
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="template-") as folder:
        try:
            check_orders(Path(folder))
        except CheckError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    print(f"Every order passes: {(time.monotonic() - started) / 60:.1f} min")
    return 0


if __name__ == "__main__":
    sys.exit(main())
