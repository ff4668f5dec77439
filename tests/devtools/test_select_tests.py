"""`make test T=…`: ids as pytest prints them, several paths, options, and what a shell or make would make of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from devtools import select_tests
from tests.support.paths import ROOT

HERE = "tests/devtools/test_run.py"
SHOW = """#!/usr/bin/env python3
import json, sys
print(json.dumps(sys.argv[1:]))
"""
ODD = [
    "80 80",
    "a  b",
    "$HOME",
    "$(id)",
    "`id`",
    "it's",
    'say "x"',
    "a] b]",
    "[]",
    "a -x]",
    "*",
    "\\n",
    "é",
    "tests",
    "#",
]


@pytest.mark.parametrize("odd", ODD)
def test_an_id_is_taken_as_it_stands(odd):
    one = f"{HERE}::TestPort::test_a_wrong_one[{odd}]"

    assert select_tests.split(one) == [one]
    assert select_tests.split(f" {HERE} {one} {HERE}::test_b {one} -x -k 'a b' ") == [
        *(HERE, one, f"{HERE}::test_b", one, "-x", "-k", "a b")
    ]


@pytest.mark.parametrize(
    ("selection", "arguments"),
    [
        (HERE, [HERE]),
        (f"{HERE} tests/core", [HERE, "tests/core"]),
        (f"{HERE}::TestPython", [f"{HERE}::TestPython"]),
        (f"{HERE}::TestPython::test_a -x", [f"{HERE}::TestPython::test_a", "-x"]),
        ('tests/core -k "token or login" -x', ["tests/core", "-k", "token or login", "-x"]),
        ("tests/devtools/test_r[u]*.py", [HERE]),
        ("tests/nowhere*.py", ["tests/nowhere*.py"]),
    ],
)
def test_all_else_is_words_as_for_a_shell(selection, arguments):
    assert select_tests.split(selection) == arguments


def test_a_quotation_mark_that_is_open_is_said_in_one_line():
    with pytest.raises(SystemExit, match=r"error: T is .*No closing quotation"):
        select_tests.split("tests 'core")


@pytest.mark.parametrize(
    ("target", "odd"), [*(("test", odd) for odd in ODD), *((target, ODD[0]) for target in ("test-slow", "test-long"))]
)
@pytest.mark.parametrize("way", ["argument", "environment"])
def test_make_passes_it_on_as_it_is(tmp_path, target, odd, way):
    show = tmp_path / "show"
    show.write_text(SHOW)
    show.chmod(0o755)
    given = f"T={HERE}::test_a[{odd}]"
    command = ["make", "--no-print-directory", f"RUN={show}", "SEED=7", target]
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"}

    result = subprocess.run(
        ["env", given, *command] if way == "environment" else [*command, given],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    arguments = json.loads(result.stdout)
    assert arguments[:5] == ["test", "python", "-m", "devtools.select_tests", given.removeprefix("T=")]
    assert arguments[5:7] == ["--seed", "7"]


def test_the_tests_that_were_chosen_are_run(tmp_path):
    (tmp_path / "test_odd.py").write_text(
        "import pytest\n\n\n@pytest.mark.parametrize('odd', ['80 80', \"it's $5\", 'other'])\ndef test_it(odd):\n    pass\n"
    )
    chosen = "test_odd.py::test_it[80 80] test_odd.py::test_it[it's $5]"

    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "devtools.select_tests",
            chosen,
            "-v",
            "-p",
            "no:django",
            "-p",
            "no:cacheprovider",
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},  # noqa: TID251  a child's
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 passed" in result.stdout
