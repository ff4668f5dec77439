"""The settings modules as a process would load them."""

import os
import subprocess
import sys

import pytest

FULL = {
    "SECRET_KEY": "correct-horse-battery-staple-0123456789-abcdefghijklm",
    "ALLOWED_HOSTS": "bank.example.org",
    "DATABASE_URL": "postgres://bank:secret@db.example.org:5432/bank?sslmode=verify-full",
}


def run(*arguments, **environment):
    clean = {"PATH": os.environ["PATH"], **environment}  # noqa: TID251  a child process needs a PATH
    return subprocess.run(
        [sys.executable, *arguments], env=clean, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("name", ["staging", "production"])
class TestDeployed:
    def test_passes_djangos_deployment_check(self, name):
        result = run(
            "manage.py", "check", "--deploy", "--fail-level", "WARNING",
            DJANGO_SETTINGS_MODULE=f"config.settings.{name}", **FULL,
        )  # fmt: skip

        assert result.returncode == 0, result.stderr

    @pytest.mark.parametrize("missing", sorted(FULL))
    def test_does_not_start_without_its_secrets(self, name, missing):
        rest = {key: value for key, value in FULL.items() if key != missing}

        result = run("-c", f"import config.settings.{name}", **rest)

        assert result.returncode != 0
        assert missing in result.stderr
        assert "secret" not in result.stderr

    def test_closes_sign_up_and_debug(self, name):
        code = f"import config.settings.{name} as s; print(s.DEBUG, s.SIGN_UP_OPEN, s.POPULATE_ALLOWED)"
        assert run("-c", code, **FULL).stdout.split() == ["False", "False", "False"]


class TestTheGuard:
    def test_refuses_another_database(self):
        result = run("-m", "pytest", "-q", "tests/core", TEST_DATABASE_URL="postgres://app:app@db.example.org/app")

        assert result.returncode == 4
        assert "the database app_test only" in result.stderr

    def test_refuses_other_settings(self):
        result = run("-m", "pytest", "-q", "tests/core", "--ds", "config.settings.local")

        assert result.returncode == 4
        assert "runs on config.settings.test only" in result.stderr


def test_static_files_are_gathered_without_a_secret(tmp_path):
    result = run("manage.py", "collectstatic", "--noinput", "--dry-run", DJANGO_SETTINGS_MODULE="config.settings.base")

    assert result.returncode == 0, result.stderr


def test_import_contracts_fail_when_they_are_broken(tmp_path):
    """A view that imports the posting module's caller's caller is harmless; a model that imports a view is not."""
    import shutil
    from pathlib import Path

    root = Path(__file__).parents[2]
    for name in ("apps", "config"):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "pyproject.toml", tmp_path)
    broken = {
        "apps/core/errors.py": "import apps.users.models\n",
        "apps/ledger/models.py": "import apps.ledger.views\n",
        "apps/ledger/money.py": "import rest_framework\n",
        "apps/ledger/use_cases/deposit.py": "import apps.ledger.use_cases.withdraw\n",
        "apps/ledger/admin.py": "import apps.ledger.posting\n",
        "apps/ledger/views.py": "import apps.ledger.posting\n",
        "apps/ledger/utils.py": "",
    }
    lint = Path(sys.executable).parent / "lint-imports"
    for name, addition in broken.items():
        path = tmp_path / name
        before = path.read_text() if path.exists() else None
        path.write_text(addition + (before or ""))
        result = subprocess.run([lint, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert result.returncode == 1, name
        path.write_text(before) if before is not None else path.unlink()
