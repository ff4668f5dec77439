"""The check of imports in tests: it fails for every way to import from a test module, and passes for the suite."""

import pytest

from checks import imports_in_tests


@pytest.fixture
def check(tmp_path):
    """Run the check on a suite of one module with this content, inside a function as at the top."""

    def run(statement: str) -> int:
        (tmp_path / "tests" / "shelf").mkdir(parents=True)
        (tmp_path / "tests" / "shelf" / "test_it.py").write_text(f"def test():\n    {statement}\n")
        return imports_in_tests.main(tmp_path)

    return run


@pytest.mark.parametrize(
    "statement",
    [
        "from tests.shelf.test_api import url",
        "from tests.shelf import test_races",
        "from tests import factories, test_docs",
        "import tests.shelf.test_api as api",
        "import tests.shelf.test_api",
        "from .test_api import url",
        "from . import test_api",
        "from ..users.test_api import log_in",
        "from tests.live.conftest import database_url",
        "from .conftest import database_url",
    ],
)
def test_an_import_from_a_test_module_fails(check, capsys, statement):
    assert check(statement) == 1
    assert capsys.readouterr().out.startswith("tests/shelf/test_it.py:2: tests.")


@pytest.mark.parametrize(
    "statement",
    [
        "from tests.support.problems import assert_problem",
        "from .requests import url",
        "import tests.factories",
        "from test.support import os_helper",
        "from django.test import testcases",
        "from apps.core import test_flags",
    ],
)
def test_any_other_import_passes(check, capsys, statement):
    assert check(statement) == 0
    assert capsys.readouterr().out == ""


def test_the_suite_passes():
    assert list(imports_in_tests.problems(imports_in_tests.ROOT)) == []
