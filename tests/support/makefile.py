"""Lines of the documentation that call make, and the words of the script that make would run."""

import re
import shlex
import subprocess
from pathlib import Path

from tests.support.paths import ROOT


def lines(page: Path, target: str) -> list[str]:
    """Return a page's lines that call a target."""
    return re.findall(rf"^ *(make {target} .*)$", page.read_text(), re.MULTILINE)


def words_of(line: str, module: str) -> list[str]:
    """Return a script's words, as make would run them."""
    make, *words = shlex.split(line, comments=True)
    printed = subprocess.run(
        [make, "--dry-run", "--no-print-directory", *words], cwd=ROOT, text=True, capture_output=True, check=True
    ).stdout
    return shlex.split(printed.partition(module)[2])
