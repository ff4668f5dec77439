"""The migration linter: the real script, squawk and PostgreSQL, on an app with safe and unsafe migrations."""

import os
import re
import subprocess
import sys

import pytest

from checks import migrations as check_migrations
from checks.migrations import MigrationProblem
from tests.support.databases import database_url
from tests.support.migrations import last_migration
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow


# Migrations in order: the expected rules (none for a safe one), the operations, more lines.
MIGRATIONS = {
    "initial": (
        set(),
        """migrations.CreateModel("Thing", [
            ("id", models.BigAutoField(primary_key=True)), ("name", models.CharField(max_length=20)),
            ("size", models.IntegerField(null=True)), ("old", models.IntegerField(null=True)),
            ("user", models.ForeignKey("users.User", models.CASCADE)),
        ], options={"indexes": [models.Index(fields=["size"], name="by_size")]}),
        migrations.CreateModel("Other", [("id", models.BigAutoField(primary_key=True))])""",
    ),
    "nullable": (set(), 'migrations.AddField("thing", "a", models.IntegerField(null=True))'),
    "database_default": (set(), 'migrations.AddField("thing", "b", models.IntegerField(db_default=0))'),
    "default_of_django": ({"ban-drop-default"}, 'migrations.AddField("thing", "c", models.IntegerField(default=0))'),
    "required": ({"adding-required-field"}, 'migrations.RunSQL("ALTER TABLE shop_thing ADD COLUMN d int NOT NULL")'),
    "index": (
        {"require-concurrent-index-creation"},
        'migrations.AddIndex("thing", models.Index(fields=["name"], name="by_name"))',
    ),
    "index_concurrently": (
        set(),
        'AddIndexConcurrently("thing", models.Index(fields=["a"], name="by_a"))',
        "atomic = False",
    ),
    "rewrite": ({"changing-column-type"}, 'migrations.AlterField("thing", "size", models.BigIntegerField(null=True))'),
    "rename": ({"renaming-column"}, 'migrations.RenameField("thing", "a", "aa")'),
    "drop_column": ({"ban-drop-column"}, 'migrations.RemoveField("thing", "old")'),
    "drop_column_accepted": (
        set(),
        'migrations.RemoveField("thing", "c")',
        "# squawk-ignore ban-drop-column: nothing has read it since 1.4",
    ),
    "accepted_for_no_reason": (
        {"squawk-ignore"},
        'migrations.RemoveField("thing", "b")',
        "# squawk-ignore ban-drop-column",
    ),
    "accepted_for_nothing": (
        {"squawk-ignore"},
        'migrations.RunSQL("SELECT 1")',
        "# squawk-ignore ban-drop-table, ban-drop-column: for later",
    ),
    "check": (
        {"constraint-missing-not-valid"},
        'migrations.AddConstraint("thing", models.CheckConstraint(condition=models.Q(size__gt=0), name="positive"))',
    ),
    "check_later": (
        set(),
        """AddConstraintNotValid("thing", models.CheckConstraint(condition=models.Q(size__gt=1), name="larger"))""",
    ),
    "check_now": (set(), 'ValidateConstraint("thing", "larger")'),
    "unique": (
        {"constraint-missing-not-valid", "disallowed-unique-constraint"},
        'migrations.AddConstraint("thing", models.UniqueConstraint(fields=["name"], name="once"))',
    ),
    "not_null": ({"adding-not-nullable-field"}, 'migrations.AlterField("thing", "size", models.BigIntegerField())'),
    "drop_unique": ({"ban-drop-constraint"}, 'migrations.RemoveConstraint("thing", "once")'),
    "drop_table": ({"ban-drop-table"}, 'migrations.DeleteModel("Other")'),
    "disabled_trigger": ({"ban-disable-trigger"}, 'migrations.RunSQL("ALTER TABLE users_user DISABLE TRIGGER ALL")'),
    "data": (set(), "migrations.RunPython(lambda *_: None)"),
    "data_with_schema": (
        {"data-with-schema"},
        'migrations.AddField("thing", "e", models.IntegerField(null=True)), migrations.RunPython(lambda *_: None)',
    ),
}


@pytest.mark.django_db
def test_unsafe_migrations_are_told_and_safe_ones_are_not(tmp_path):
    folder = tmp_path / "shop" / "migrations"
    folder.mkdir(parents=True)
    (tmp_path / "shop" / "__init__.py").touch()
    (folder / "__init__.py").touch()
    files = [f"{number:04}_{name}" for number, name in enumerate(MIGRATIONS, start=1)]
    before = str(last_migration("users"))
    for file, (_, operations, *others) in zip(files, MIGRATIONS.values(), strict=True):
        lines = [
            "from django.contrib.postgres.operations import *",
            "from django.db import migrations, models",
            "class Migration(migrations.Migration):",
            f"    dependencies = [{before}]",
            f"    operations = [{operations}]",
            *(f"    {line}" for line in others),
        ]
        (folder / f"{file}.py").write_text("\n".join(lines))
        before = f'("shop", "{file}")'
    # The environment is called by the last part of the settings' name.
    (tmp_path / "shop" / "test.py").write_text(
        "from config.settings.test import *\nINSTALLED_APPS = [*INSTALLED_APPS, 'shop']\n"
    )
    given = {"DJANGO_SETTINGS_MODULE": "shop.test", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    given["TEST_DATABASE_URL"] = database_url()

    result = subprocess.run(
        [sys.executable, "-m", "checks.migrations"],
        cwd=ROOT,
        env=os.environ | given,  # noqa: TID251  the child's is ours with some changed
        capture_output=True,
        text=True,
        check=False,
    )

    told: dict[str, set[str]] = {file: set() for file in files}
    for file, rule in re.findall(r"^\S*/(\w+)\.py: ([a-z-]+): ", result.stdout, re.MULTILINE):
        told[file].add(rule)
    assert told == dict(zip(files, [rules for rules, *_ in MIGRATIONS.values()], strict=True)), result.stderr
    assert result.returncode == 1
    assert "docs/migrations.md" in result.stderr


def test_a_reason_is_as_much_as_a_rule_to_accept():
    found = [MigrationProblem("ban-drop-column", "Gone."), MigrationProblem("renaming-table", "Elsewhere.")]

    def judged(source: str) -> list[str]:
        return [finding.rule for finding in check_migrations.unaccepted(found, source)]

    assert judged("") == ["ban-drop-column", "renaming-table"]
    assert judged("# squawk-ignore ban-drop-column: unused since 1.4") == ["renaming-table"]
    assert judged("    # squawk-ignore ban-drop-column, renaming-table: why not") == []
    assert judged("# squawk-ignore ban-drop-column:") == ["ban-drop-column", "renaming-table"]
    assert judged("# squawk-ignore ban-drop-column") == ["squawk-ignore", "renaming-table"]


def test_what_cannot_be_parsed_is_not_passed():
    found = check_migrations.lint({"broken": "ALTER TABEL nonsense;", "fine": "SELECT 1;"})

    assert found["broken"]
    assert found["fine"] == []
