"""`checks/check-client`, with stand-ins for npm and for the programs that it installs."""

import shutil
import subprocess

import pytest

from tests.support.paths import ROOT

NPM = """#!/bin/sh
[ ! -e offline ] || { echo no network; exit 1; }
mkdir -p .local/typescript/node_modules/.bin
for program in openapi-typescript tsc; do
    printf '#!/bin/sh\\necho %s "$@" >>ran\\n[ ! -e broken ]\\n' "$program" >.local/typescript/node_modules/.bin/$program
    chmod +x .local/typescript/node_modules/.bin/$program
done
"""


@pytest.fixture
def check(tmp_path):
    """Return a function that runs the check in a copy of what it needs, with npm or without."""
    shutil.copytree(ROOT / "checks", tmp_path / "checks")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("bash", "cat", "cmp", "cp", "dirname", "mkdir", "chmod", "sh"):
        (programs / name).symlink_to(shutil.which(name))

    def run(*arguments: str, npm: bool = True) -> tuple[int, str]:
        if npm:
            (programs / "npm").write_text(NPM)
            (programs / "npm").chmod(0o755)
        command = [tmp_path / "checks/check-client", *arguments]
        done = subprocess.run(
            command,
            env={"PATH": str(programs)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return done.returncode, done.stdout

    return run


def test_the_types_are_generated_and_compiled(check, tmp_path):
    assert check("--strict") == (0, "the TypeScript client compiles\n")
    assert (tmp_path / "ran").read_text().splitlines() == [
        "openapi-typescript docs/openapi.yaml --output .local/typescript/api.d.ts",
        "tsc --noEmit --strict .local/typescript/api.d.ts",
    ]


def test_what_does_not_compile_fails(check, tmp_path):
    (tmp_path / "broken").touch()

    assert check()[0] == 1


@pytest.mark.parametrize(("arguments", "code"), [([], 0), (["--strict"], 1)])
def test_without_npm_it_is_skipped_and_in_ci_it_fails(check, arguments, code):
    assert check(*arguments, npm=False) == (code, "skipped: npm is not installed\n")


@pytest.mark.parametrize(("arguments", "code"), [([], 0), (["--strict"], 1)])
def test_offline_as_well(check, tmp_path, arguments, code):
    (tmp_path / "offline").touch()

    assert check(*arguments) == (code, "no network\nskipped: npm cannot install checks/typescript\n")
