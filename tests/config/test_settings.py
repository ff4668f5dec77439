"""Guards of the test suite and the import contracts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

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
    """Each import below breaks a contract, alone."""
    for name in ("apps", "checks", "config", "deploy", "devtools", "monitoring", "server"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    broken = {
        "apps/core/errors.py": "import apps.users.models\n",
        "apps/database/timeouts.py": "import apps.users.models\n",
        "apps/core/text.py": "import apps.database.timeouts\n",
        "apps/users/passwords.py": "import apps.ledger.errors\n",
        "server/draining.py": "import apps.users.models\n",
        "apps/users/errors.py": "import apps.users.views\n",
        "apps/users/use_cases/log_in.py": "import apps.users.use_cases.change_password\n",
        "apps/ledger/models.py": "import apps.ledger.views\n",
        "apps/core/money/amounts.py": "import rest_framework\n",
        "apps/ledger/use_cases/deposit.py": "import apps.ledger.use_cases.withdraw\n",
        "apps/ledger/admin.py": "import apps.ledger.posting\n",
        "apps/ledger/views.py": "import apps.ledger.posting\n",
        "apps/ledger/posting.py": "import apps.ledger.gate\n",
        "apps/ledger/utils.py": "",
    }
    lint = Path(sys.executable).parent / "lint-imports"
    for name, addition in broken.items():
        path = tmp_path / name
        before = path.read_text() if path.exists() else None
        path.write_text(addition + (before or ""))
        result = subprocess.run([lint, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert result.returncode == 1, name
        assert " BROKEN" in result.stdout, name
        path.write_text(before) if before is not None else path.unlink()
