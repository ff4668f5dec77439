"""The check of module docstrings: first lines that name their subject pass; riddles and talking programs do not."""

import pytest

from checks.docstrings import problems


@pytest.mark.parametrize(
    "first_line",
    [
        "Audit log of logins, password changes and token revocations.",
        "Security headers for every response, including probes.",
        "Whiteness of a page.",  # begins with the letters of a question word
        "Essays and masks.",  # contains the letters of a verb
    ],
)
def test_a_first_line_that_names_its_subject_passes(tmp_path, first_line):
    module = tmp_path / "module.py"
    module.write_text(f'"""{first_line}\n\nWhat follows says what it likes.\n"""\n')

    assert list(problems(module)) == []


def test_a_module_without_a_docstring_passes(tmp_path):
    module = tmp_path / "module.py"
    module.write_text("import re\n")

    assert list(problems(module)) == []


@pytest.mark.parametrize(
    ("first_line", "problem"),
    [
        ("What the log says: one line an event.", "opens with 'What'"),
        ("Whose an address is.", "opens with 'Whose'"),
        ("how `devtools/run` chooses the runtime.", "opens with 'how'"),
        ("Nobody waits.", "opens with 'Nobody'"),
        ("Logging, as libpq knows it.", "'knows': programs log, return and raise"),
        ("Metrics; gunicorn tells them to Prometheus.", "'tells': programs log, return and raise"),
    ],
)
def test_a_riddle_or_a_talking_program_is_named(tmp_path, first_line, problem):
    module = tmp_path / "module.py"
    module.write_text(f'"""{first_line}"""\n')

    assert any(found.startswith(problem) for found in problems(module))
