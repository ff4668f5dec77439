"""`make bench`, as small as it gets: the contenders start, do every workload, and lose no money that they may not lose."""

import os
import subprocess
import sys

import pytest

from tests.ledger.benchmarks.contenders import CONTENDERS
from tests.ledger.benchmarks.workloads import WORKLOADS
from tests.support.nginx import find_nginx
from tests.support.paths import ROOT

# They need the packages of the application alone; the others those of the group `bench`.
AT_HAND = [name for name, contender in CONTENDERS.items() if not contender.own_libraries]
SMALL = ("--quick", "--rounds", "2", "--seconds", "0.3", "--entries", "600", "--accounts", "10", "--starts", "1")


def bench(seed: int, *arguments: str, module: str = "") -> subprocess.CompletedProcess[str]:
    inherited = os.environ.items()  # noqa: TID251  the child's is ours with one taken away
    clean = {name: value for name, value in inherited if name != "DJANGO_SETTINGS_MODULE"}
    command = [sys.executable, "-m", f"tests.ledger.benchmarks{module}", "--seed", str(seed), *arguments]
    return subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, check=False)


def assert_complete(done: subprocess.CompletedProcess[str], seed: int, contenders: list[str]) -> None:
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert f"Seed {seed}." in done.stderr
    for contender in contenders:
        assert done.stdout.count(CONTENDERS[contender].title) > len(CONTENDERS[contender].workloads)
    for workload in WORKLOADS.values():
        assert f"## {workload.title.format(accounts=10, entries=600)}" in done.stdout
    for title in ("Goals", "A cold start", "The money afterwards", "What each is, and does besides the work"):
        assert f"## {title}" in done.stdout


@pytest.mark.slow
def test_the_contenders_at_hand(seed):
    assert_complete(bench(seed, *SMALL, "--contenders", *AT_HAND), seed, AT_HAND)


@pytest.mark.long
def test_all_contenders(seed, tmp_path):
    done = bench(seed, *SMALL, "--output", str(tmp_path))

    assert_complete(done, seed, list(CONTENDERS))
    assert (tmp_path / "results.md").read_text() in done.stdout
    assert {file.name for file in tmp_path.iterdir()} == {"results.md", "throughput.svg", "cpu.svg", "latency.svg"}


@pytest.mark.slow
def test_growth(seed):
    """A ratio that is too large on a busy machine is a finding, and no failure of the program."""
    small = ("--entries", "2000", "--rounds", "1", "--soak", "2", "--accounts", "5")
    done = bench(seed, *small, module=".growth")

    print(done.stdout)
    assert "Traceback" not in done.stderr, done.stderr
    assert "| ledger_entry |" in done.stdout
    assert "A soak at 70%" in done.stdout
    assert done.stdout.endswith("verify_ledger found nothing in either\n")


@pytest.mark.slow
def test_overload(seed):
    """As above: a probe that is late on a busy machine is a finding."""
    find_nginx()
    done = bench(seed, "--seconds", "2", "--accounts", "5", module=".overload")

    print(done.stdout)
    assert "Traceback" not in done.stderr, done.stderr
    for words in ("10 x capacity", "withdrawals beside the storm", "an ordinary load is served as before"):
        assert words in done.stdout
    assert done.stdout.endswith("the books agree with what was accepted\n")
