"""Mutation test runner: try every mutant, or the named ones, and print the test that detected each; exit 1 if one survives.

First the tests must pass on the unchanged code, because otherwise a failure proves nothing.
"""

import re
import subprocess
import sys
import time
from dataclasses import dataclass

from tests.ledger.mutants import MUTANTS, QUICK, Mutant

# The tests take a minute; a mutant that makes them hang counts as detected.
LIMIT_S = 300
FAILURE = re.compile(r"^(?:FAILED|ERROR) (?:tests/)?(?P<test>.+?)(?: - .*)?$", re.MULTILINE)
REASON = re.compile(r"^E +(?P<reason>\S.*)$", re.MULTILINE)
# A program that cannot run is no mutant.
BROKEN = re.compile(r"ProgrammingError|SyntaxError|NameError|ImportError|ModuleNotFoundError")
INDENT = " " * 7


@dataclass(frozen=True)
class Outcome:
    killed: bool
    message: str


def run(*arguments: str) -> tuple[int, str]:
    """Run pytest until the first failure; return its exit code and its output."""
    options = ["-m", "not long", "-x", "-q", "-rfE", "--tb=short", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, *arguments]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return 1, f"ERROR the clock: no end within {LIMIT_S} s"
    return done.returncode, done.stdout


def outcome_of(mutant: Mutant) -> Outcome:
    """Run a mutant's tests; it is killed if one of them fails for another reason than a broken program."""
    code, output = run("-p", "tests.ledger.mutants.plugin", f"--mutant={mutant.name}", *mutant.tests)
    if code == 0:
        return Outcome(killed=False, message="SURVIVES: no test fails")
    failure, reason = FAILURE.search(output, output.rfind("short test summary")), REASON.search(output)
    if code != 1 or failure is None or BROKEN.search(output):
        return Outcome(killed=False, message=f"CANNOT RUN (exit {code}):\n{output}")
    return Outcome(
        killed=True, message=f"killed by {failure['test']}\n{INDENT}{reason['reason'][:110] if reason else ''}"
    )


def main(names: list[str]) -> int:
    known = {mutant.name: mutant for mutant in MUTANTS}
    if unknown := sorted(set(names) - known.keys()):
        print(f"no such mutants: {', '.join(unknown)}; there are {', '.join(known)}")
        return 2
    chosen = [known[name] for name in names] or list(MUTANTS)
    started = time.monotonic()
    print("Unchanged code:", flush=True)
    code, output = run(*QUICK)
    print(f"{INDENT}{'passes' if code == 0 else 'FAILS'}, {time.monotonic() - started:.1f} s", flush=True)
    if code:
        print(output)
        return 1
    living = []
    for number, mutant in enumerate(chosen, start=1):
        print(f"{number}/{len(chosen)} {mutant.name}: {mutant.breaks}", flush=True)
        began = time.monotonic()
        outcome = outcome_of(mutant)
        print(f"{INDENT}{time.monotonic() - began:.1f} s, {outcome.message}", flush=True)
        if not outcome.killed:
            living.append(mutant.name)
    print(f"{len(chosen) - len(living)} of {len(chosen)} mutants killed in {time.monotonic() - started:.0f} s")
    if living:
        print(f"alive: {', '.join(living)}")
    return 1 if living else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
