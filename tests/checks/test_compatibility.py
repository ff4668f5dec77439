"""Compatibility of code and schema: copies of this project, one of them with one more migration."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.migrations import last_migration
from tests.support.paths import ROOT

FOLDERS = ("apps", "config", "server", "devtools", "checks", "docs", "tests")
MIGRATION = """from django.db import migrations, models
class Migration(migrations.Migration):
    dependencies = [{}]
    operations = [{}]
    {}
"""
NAME = "    digest = models.BinaryField(max_length=32, unique=True)\n"


def copy(folder: Path) -> Path:
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("manage.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.mark.long
@pytest.mark.parametrize(
    ("operation", "line", "field", "expected"),
    [
        ('migrations.RunSQL("ALTER TABLE users_token ADD memo text")', "", "", ("passes", "passes")),
        ('migrations.RunSQL("ALTER TABLE users_token ADD memo text NOT NULL")', "", "", ("FAILS", "passes")),
        ('migrations.AddField("token", "memo", models.TextField(null=True))', "", "memo", ("passes", "FAILS")),
        (
            'migrations.AddField("token", "memo", models.TextField(null=True))',
            "# new-code-needs-this: the deployment migrates first",
            "memo",
            ("passes", "not tried"),
        ),
    ],
    ids=["expand", "required", "undeclared", "declared"],
)
def test_each_half_is_told(tmp_path, operation, line, field, expected):
    before, after = copy(tmp_path / "before"), copy(tmp_path / "after")
    (after / "apps/users/migrations/9999_memo.py").write_text(
        MIGRATION.format(last_migration("users"), operation, line)
    )
    if field:
        models = after / "apps/users/models.py"
        text = models.read_text()
        assert NAME in text
        models.write_text(text.replace(NAME, f"    {field} = models.TextField(null=True)\n{NAME}"))

    result = subprocess.run(
        [sys.executable, "-m", "checks.compatibility", str(before)],
        cwd=after,
        text=True,
        capture_output=True,
        check=False,
    )

    old_on_new, new_on_old = expected
    assert f"old code on the new schema: {old_on_new}" in result.stdout, result.stdout + result.stderr
    assert f"new code on the old schema: {new_on_old}" in result.stdout, result.stdout + result.stderr
    assert result.returncode == ("FAILS" in expected)
