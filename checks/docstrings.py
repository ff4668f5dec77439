"""Check the first line of every module docstring: it names its subject in words that one would search for.

Run by `make lint`. A first line may not open with a question word or a pronoun in the place of a noun ("What the log
says"), and gives programs no speech ("tells", "knows"): `.github/CONTRIBUTING.md` has the rule with examples.

Exit code: 0 if every first line passes, 1 if one does not; each is printed with its file.
"""

# A command line tool: it prints.
# ruff: noqa: T201

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

OPENS_AS_A_RIDDLE: Final = re.compile(
    r"(What|Who|Whom|Whose|Whoever|Which|How|Where|When|Why|That|Those|These|This|It|Nobody|Nothing|Whether)\b",
    re.IGNORECASE,
)
GIVES_PROGRAMS_SPEECH: Final = re.compile(
    r"\b(says?|said|tells?|told|knows?|asks?|speaks?|hears?|rings?|knocks?)\b", re.IGNORECASE
)


def problems(path: Path) -> Iterator[str]:
    """Yield what is wrong with the first line of a module's docstring; nothing where it has none."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if docstring is None:
        return
    first = docstring.partition("\n")[0]
    if OPENS_AS_A_RIDDLE.match(first):
        yield f"opens with {first.split()[0]!r} in the place of a noun: {first}"
    if spoken := GIVES_PROGRAMS_SPEECH.search(first):
        yield f"{spoken[0]!r}: programs log, return and raise: {first}"


def main() -> int:
    """Check every tracked module but migrations; return the exit code."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, text=True, capture_output=True, check=False)  # noqa: S607  wherever it is
    names = listed.stdout.splitlines() or [str(path.relative_to(ROOT)) for path in ROOT.glob("[!.]*/**/*.py")]
    found = [f"{name}: {problem}" for name in names if "/migrations/" not in name for problem in problems(ROOT / name)]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
