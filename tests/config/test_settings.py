"""Guards of the test suite and the import contracts."""

import os
import subprocess
import sys

import pytest

from tests.support.import_contracts import assert_contracts_break

pytestmark = pytest.mark.slow


def run(*arguments, **environment):
    clean = {"PATH": os.environ["PATH"], **environment}  # noqa: TID251  a child process needs a PATH
    return subprocess.run(
        [sys.executable, *arguments], env=clean, capture_output=True, text=True, check=False, timeout=120
    )


class TestTheGuard:
    def test_refuses_another_database(self):
        result = run("-m", "pytest", "-q", "tests/core", TEST_DATABASE_URL="postgres://app:app@db.example.org/app")

        assert result.returncode == 4
        assert "the database app_test only" in result.stderr

    def test_refuses_other_settings(self):
        result = run("-m", "pytest", "-q", "tests/core", "--ds", "config.settings.local")

        assert result.returncode == 4
        assert "runs on tests.settings.test only" in result.stderr


def test_import_contracts_fail_when_they_are_broken(tmp_path):
    assert_contracts_break(
        tmp_path,
        {
            "apps/core/errors.py": "import apps.users.models\n",
            "apps/database/timeouts.py": "import apps.users.models\n",
            "apps/core/text.py": "import apps.database.timeouts\n",
            "apps/users/passwords.py": "import server.draining\n",
            "apps/users/authentication.py": "import apps.database.replica\n",
            "server/draining.py": "import apps.users.models\n",
            "apps/users/errors.py": "import apps.users.views\n",
            "apps/users/use_cases/log_in.py": "import apps.users.use_cases.change_password\n",
            "apps/core/money/amounts.py": "import rest_framework\n",
        },
    )
