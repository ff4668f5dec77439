"""Shell scripts on macOS: they use no syntax that its bash 3.2 lacks, and no option that its programs lack."""

import re
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SHEBANG = re.compile(r"#!(/usr/bin/env bash|/bin/bash|/bin/sh)\n")
# Runs in Debian only: in CI, or inside an image.
FOR_DEBIAN = {".ci/run": r"dpkg-query|apt-get", "checks/check-image": r"inside find"}
LACKING = {
    "bash 4: arrays from lines": r"\b(mapfile|readarray)\b",
    "bash 4: associative arrays, names of variables, globals": r"\b(declare|local|typeset|readonly)\s+-\w*[Ang]",
    "bash 4: whether a variable is set": r"\[\[ (! )?-v\b|\btest -v\b",
    "bash 4: case": r"\$\{\w+(\[[^]]*\])?[,^]",
    "bash 4: transformations": r"\$\{\w+(\[[^]]*\])?@[A-Za-z]\}",
    "bash 4: both outputs": r"\|&|&>>",
    "bash 4: falling through": r";;?&",
    "bash 4: coprocesses, times, pids": r"\b(coproc|EPOCHSECONDS|EPOCHREALTIME|BASHPID|SRANDOM)\b|printf [^|]*%\(",
    "bash 4: globs": r"\bglobstar\b|\blastpipe\b",
    "bash 4: the last element": r"\$\{\w+\[-\d",
    "bash 4: descriptors": r"\{\w+\}[<>]",
    "bash 4: waiting for any": r"\bwait -n\b",
    "bash 4: fractions of a second in read": r"\bread\b[^|;]* -t ?0?\.\d",
    # In bash 3.2 an array without elements is unset: use ${a[@]+"${a[@]}"}, or see to it that it has some.
    "GNU: sed": r"\bsed\b[^|]* (-i|--in-place|-z)\b|\bsed -\w*r",
    "GNU: grep": r"\bgrep\b[^|]* (-\w*P|--perl-regexp)\b",
    "GNU: dates": r"\bdate\b[^|]* (-d|--date)\b",
    "GNU: paths": r"\breadlink\b[^|]* -\w*[fem]\b|\brealpath\b",
    "GNU: stat, find": r"\bstat\b[^|]* (-c|--format)|\bfind\b[^|]* -printf",
    "GNU: sort, xargs, cp": r"\bsort\b[^|]* -\w*[Vz]\b|\bxargs\b[^|]* -\w*[rd]\b|\bcp\b[^|]* -a\b",
    "GNU: head and tail": r"\bhead\b[^|]* -n? ?-\d|\btac\b",
    "programs": (
        r"(?:^|[|;&(!]|\b(?:then|do|else|exec|in)\b)\s*"
        r"(?:sha256sum|md5sum|nproc|timeout|flock|setsid|getent|ip|ss|free)(?= )"
    ),
    "base64's width": r"\bbase64\b[^|]* -w",
    "mktemp's options": r"\bmktemp\b[^|)]* --",
}
# What is asked for first.
ALLOWED = {("devtools/run", "programs"): "timeout"}


def scripts() -> list[Path]:
    folders = [ROOT / ".ci", ROOT / "docker", ROOT / "devtools", ROOT / "checks"]
    files = (path for folder in folders for path in sorted(folder.iterdir()) if path.is_file())
    return [path for path in files if SHEBANG.match(path.read_text(errors="replace"))]


def lines(path: Path) -> list[str]:
    """Return a script's lines without its comments, and without those that only Debian sees."""
    name = str(path.relative_to(ROOT))
    aside = re.compile(FOR_DEBIAN.get(name, r"(?!)"))
    text = [line for line in path.read_text().splitlines() if not aside.search(line)]
    return [re.sub(r"(^|\s)#.*", "", line) for line in text]


@pytest.mark.parametrize("path", [*scripts(), ROOT / "Makefile"], ids=lambda path: path.name)
def test_nothing_is_used_that_macos_lacks(path):
    name = str(path.relative_to(ROOT))

    found = [
        f"{why}: {line.strip()}"
        for line in lines(path)
        for why, pattern in LACKING.items()
        if (hit := re.search(pattern, line)) and ALLOWED.get((name, why)) != hit[0].strip()
    ]

    assert found == []


def test_the_scripts_are_found():
    assert {path.name for path in scripts()} >= {
        "run",
        "docker.sh",
        "lint-delivery",
        "entrypoint",
        "check-api",
        "print-urls",
    }


@pytest.mark.parametrize(
    "line",
    [
        "mapfile -t a < <(b)",
        "declare -A a",
        "local -n b=a",
        "[[ -v a ]]",
        "echo ${a,,} ${a[@]^}",
        "a |& b",
        "sed -i s/a/b/ c",
        "grep -oP a b",
        "readlink -f a",
        "date -d @0",
        "timeout 5 a",
        "stat -c %s a",
        "exec {a}<b",
        "wait -n",
    ],
)
def test_each_of_them_would_be_seen(line):
    assert any(re.search(pattern, line) for pattern in LACKING.values())


@pytest.mark.parametrize("path", scripts(), ids=lambda path: path.name)
def test_an_array_that_may_be_empty_is_expanded_with_care(path):
    """With `set -u`, bash 3.2 takes an array without elements for a variable that is not set."""
    text = path.read_text()
    if "set -u" not in text and not re.search(r"set -\w*u", text):
        return
    empty = set(re.findall(r"\b(\w+)=\(\)", text))

    bare = [
        name
        for name in empty
        for hit in re.finditer(rf'(?<!\+)"\$\{{{name}\[[@*]\]\}}"', text)
        if f"${{{name}[@]+" not in text[max(0, hit.start() - 40) : hit.start()]
    ]

    assert [name for name in bare if (path.name, name) not in NEVER_EMPTY] == []


# Filled before they are used, or the script ends.
NEVER_EMPTY = {("audit", "lists"), ("lint-delivery", "shell_scripts"), ("run", "missing")}
