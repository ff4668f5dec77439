"""Mutants: each one still fits the code, and the runner reports survivors and broken mutants."""

import pytest

from tests.ledger.mutants import MUTANTS, Edit, Mutant, NotApplicableError
from tests.ledger.mutants import __main__ as runner

SUMMARY = "=== short test summary info ===\nFAILED tests/ledger/test_x.py::test_y[a - b] - AssertionError\n"
ANSWERS = {
    "notices": (1, f"E   AssertionError: 1 != 2\n{SUMMARY}"),
    "does not notice": (0, "9 passed"),
    "cannot run": (1, f"E   django.db.utils.ProgrammingError: syntax error\n{SUMMARY}"),
    "is not asked right": (4, "ERROR: no such option"),
}


@pytest.fixture
def pytest_that(monkeypatch):
    """Make the runner's pytest pass on the unchanged code, and give this answer for every mutant."""

    def pytest_that(answer):
        monkeypatch.setattr(
            runner, "run", lambda *arguments: ANSWERS[answer] if "tests.ledger.mutants.plugin" in arguments else (0, "")
        )

    return pytest_that


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_changes_something_that_still_is_python(mutant):
    assert mutant.edits or mutant.sql
    for module in mutant.modules:
        compile(mutant.source_of(module), module, "exec")


def test_has_a_name_of_its_own():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("old", ["this is nowhere", "import"])
def test_fits_in_one_place_or_not_at_all(old):
    mutant = Mutant(name="stale", breaks="nothing", edits=(Edit("apps.ledger.posting", old, "pass"),))

    with pytest.raises(NotApplicableError, match="not one"):
        mutant.source_of("apps.ledger.posting")


def test_is_killed_when_a_test_notices(pytest_that, capsys):
    pytest_that("notices")

    assert runner.main(["no-row-lock", "naive"]) == 0

    told = capsys.readouterr().out
    assert "killed by ledger/test_x.py::test_y[a" in told
    assert "AssertionError: 1 != 2" in told
    assert "2 of 2 mutants killed" in told


@pytest.mark.parametrize("answer", ["does not notice", "cannot run", "is not asked right"])
def test_lives_otherwise(pytest_that, capsys, answer):
    pytest_that(answer)

    assert runner.main(["no-row-lock"]) == 1
    assert "alive: no-row-lock" in capsys.readouterr().out


def test_is_not_tried_on_tests_that_fail_without_it(monkeypatch, capsys):
    monkeypatch.setattr(runner, "run", lambda *_: ANSWERS["notices"])

    assert runner.main([]) == 1

    told = capsys.readouterr().out
    assert "FAILS" in told
    assert "killed" not in told


def test_must_be_known(capsys):
    assert runner.main(["no-such-thing"]) == 2
