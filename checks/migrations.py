"""Lint migrations: find those that block a running application or break the code of the previous release.

    python -m checks.migrations

All migrations are applied to a new, empty database. Before each of this project's migrations its SQL is rendered as by
`sqlmigrate`, and squawk lints it by the rules in .squawk.toml. One rule is checked here, since SQL does not show it:
`data-with-schema`, Python code that moves rows in the transaction that has locked a table.

A violation is accepted in the migration's own file, with a reason:

    # squawk-ignore ban-drop-column: nothing has read it since 1.4, and the model has not had it since 1.5
"""

# A command line tool: it prints, and reads the environment only through Django's settings.
# ruff: noqa: T201

import inspect
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import django

ROOT: Final = Path(__file__).resolve().parent.parent
SQUAWK: Final = Path(sys.executable).with_name("squawk")
ACCEPTED: Final = re.compile(
    r"^\s*# squawk-ignore (?P<rules>[a-z-]+(?:, *[a-z-]+)*)(?P<reason>: *\S.*)?$", re.MULTILINE
)


@dataclass(frozen=True)
class MigrationProblem:
    """A violated rule, and its message."""

    rule: str
    message: str


@dataclass(frozen=True)
class RenderedMigration:
    """A migration as SQL, with its file and the one property that SQL does not show."""

    source: Path
    sql: str
    moves_rows_under_locks: bool


def main() -> int:
    """Check all migrations of this project's apps; return 1 if there is a finding."""
    django.setup()
    with scratch_database():
        rendered = migrate_and_render()
    found = lint({name: one.sql for name, one in rendered.items()})
    count = 0
    for name, one in rendered.items():
        if one.moves_rows_under_locks:
            found[name].append(
                MigrationProblem("data-with-schema", "It moves rows while tables are locked: use a second migration.")
            )
        for finding in unaccepted(found[name], one.source.read_text()):
            print(f"{display(one.source)}: {finding.rule}: {finding.message}")
            count += 1
    if count:
        print(
            f"error: {count} findings; docs/migrations.md has the safe ways, and how to accept a finding",
            file=sys.stderr,
        )
    else:
        print(f"{len(rendered)} migrations are safe on a database in use")
    return 1 if count else 0


@contextmanager
def scratch_database() -> Iterator[None]:
    """Point Django at a new, empty database on the test server during the block."""
    from django.db import connection  # noqa: PLC0415  needs django.setup()

    configured = connection.settings_dict["NAME"]
    connection.settings_dict["TEST"]["NAME"] = f"check_migrations_{os.getpid()}"
    name = connection.creation._create_test_db(verbosity=0, autoclobber=True)  # type: ignore[attr-defined]  # noqa: SLF001
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connection.creation.destroy_test_db(configured, verbosity=0)


def migrate_and_render() -> dict[str, RenderedMigration]:
    """Apply all migrations; return this project's as SQL, each rendered on the schema that it is applied to."""
    # These imports need django.setup().
    from django.apps import apps  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415
    from django.db.migrations import Migration, RunPython  # noqa: PLC0415
    from django.db.migrations.executor import MigrationExecutor  # noqa: PLC0415

    installed = Path(sysconfig.get_path("purelib")).resolve()
    ours = {app.label for app in apps.get_app_configs() if installed not in Path(app.path).resolve().parents}
    rendered: dict[str, RenderedMigration] = {}

    def render(action: str, migration: Migration | None = None, *_: Any) -> None:
        if action != "apply_start" or migration is None or migration.app_label not in ours:
            return
        statements = executor.loader.collect_sql([(migration, False)])  # type: ignore[attr-defined]  # the stubs lack it
        if migration.atomic:
            statements = ["BEGIN;", *statements, "COMMIT;"]
        python = [isinstance(operation, RunPython) for operation in migration.operations]
        rendered[f"{migration.app_label}.{migration.name}"] = RenderedMigration(
            Path(inspect.getfile(type(migration))), "\n".join(statements), migration.atomic and len(set(python)) > 1
        )

    executor = MigrationExecutor(connection, render)
    executor.migrate(executor.loader.graph.leaf_nodes())
    return rendered


def lint(sql: Mapping[str, str]) -> dict[str, list[MigrationProblem]]:
    """Return squawk's findings for each SQL text."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in sql.items():
            Path(folder, f"{name}.sql").write_text(text)
        command: list[str | Path] = [SQUAWK, "--config", ROOT / ".squawk.toml", "--reporter", "json"]
        command += sorted(Path(folder).iterdir())
        result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  a list, no shell
        try:
            reports = json.loads(result.stdout)
        except ValueError:
            sys.exit(f"error: squawk's output is not JSON\n{result.stderr}")
    found: dict[str, list[MigrationProblem]] = {name: [] for name in sql}
    for report in reports:
        name = Path(report["file"]).stem
        statement = sql[name].splitlines()[report["line"]].strip()
        message = " ".join(filter(None, [report["message"], report["help"], f"[{statement[:120]}]"]))
        found[name].append(MigrationProblem(report["rule_name"], message))
    return found


def unaccepted(found: list[MigrationProblem], source: str) -> Iterator[MigrationProblem]:
    """Yield the findings that the migration's file does not accept, and acceptances without a reason or a finding."""
    accepted = set()
    for comment in ACCEPTED.finditer(source):
        rules = set(re.split(r", *", comment["rules"]))
        if not comment["reason"]:
            yield MigrationProblem("squawk-ignore", f"Add a colon and the reason for accepting {comment['rules']}.")
        accepted |= rules
    for rule in sorted(accepted - {finding.rule for finding in found}):
        yield MigrationProblem("squawk-ignore", f"Remove {rule}: there is no such finding.")
    yield from (finding for finding in found if finding.rule not in accepted)


def display(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


if __name__ == "__main__":
    sys.exit(main())
