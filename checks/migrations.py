"""Say which migrations stand in the way of an application that runs, or take away what the release before relies on.

    check_migrations.py

All migrations are applied, from nothing, to a database of this script's own. Before one of ours is, its SQL is written
down as `sqlmigrate` would; squawk reads it, and .squawk.toml has its rules. One thing SQL does not show is looked for here:
`data-with-schema`, rows that are moved by Python in the transaction that has locked a table.

What is meant all the same is accepted in the migration's own file, for a reason:

    # squawk-ignore ban-drop-column: nothing has read it since 1.4, and the model has not had it since 1.5
"""

# A command line tool: it prints, and reads the environment through Django's settings alone.
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
    """What is wrong with a migration."""

    rule: str
    words: str


@dataclass(frozen=True)
class Written:
    """A migration as SQL, with the file it comes from and what only Python knows of it."""

    source: Path
    sql: str
    moves_rows_under_locks: bool


def main() -> int:
    """Check all migrations of this project's own apps; 1 if there is something to say."""
    sys.path.insert(0, str(ROOT))
    django.setup()
    with scratch_database():
        written = migrate_and_write()
    found = lint({name: one.sql for name, one in written.items()})
    count = 0
    for name, one in written.items():
        if one.moves_rows_under_locks:
            found[name].append(
                MigrationProblem("data-with-schema", "Rows are moved while tables are locked: make it a second one.")
            )
        for finding in judge(found[name], one.source.read_text()):
            print(f"{display(one.source)}: {finding.rule}: {finding.words}")
            count += 1
    if count:
        print(f"error: {count} findings; docs/migrations.md says how to do it, and how to accept one", file=sys.stderr)
    else:
        print(f"{len(written)} migrations suit a database in use")
    return 1 if count else 0


@contextmanager
def scratch_database() -> Iterator[None]:
    """Let Django work in an empty database on the tests' server."""
    from django.db import connection  # noqa: PLC0415  needs django.setup()

    usual = connection.settings_dict["NAME"]
    connection.settings_dict["TEST"]["NAME"] = f"check_migrations_{os.getpid()}"
    name = connection.creation._create_test_db(verbosity=0, autoclobber=True)  # type: ignore[attr-defined]  # noqa: SLF001
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connection.creation.destroy_test_db(usual, verbosity=0)


def migrate_and_write() -> dict[str, Written]:
    """Apply all migrations; return ours as SQL, each as it is for the tables that it finds."""
    # They need django.setup().
    from django.apps import apps  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415
    from django.db.migrations import Migration, RunPython  # noqa: PLC0415
    from django.db.migrations.executor import MigrationExecutor  # noqa: PLC0415

    installed = Path(sysconfig.get_path("purelib")).resolve()
    ours = {app.label for app in apps.get_app_configs() if installed not in Path(app.path).resolve().parents}
    written: dict[str, Written] = {}

    def write(what: str, migration: Migration | None = None, *_: Any) -> None:
        if what != "apply_start" or migration is None or migration.app_label not in ours:
            return
        statements = executor.loader.collect_sql([(migration, False)])  # type: ignore[attr-defined]  # the stubs lack it
        if migration.atomic:
            statements = ["BEGIN;", *statements, "COMMIT;"]
        python = [isinstance(operation, RunPython) for operation in migration.operations]
        written[f"{migration.app_label}.{migration.name}"] = Written(
            Path(inspect.getfile(type(migration))), "\n".join(statements), migration.atomic and len(set(python)) > 1
        )

    executor = MigrationExecutor(connection, write)
    executor.migrate(executor.loader.graph.leaf_nodes())
    return written


def lint(sql: Mapping[str, str]) -> dict[str, list[MigrationProblem]]:
    """Return what squawk has to say of each text."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in sql.items():
            Path(folder, f"{name}.sql").write_text(text)
        command: list[str | Path] = [SQUAWK, "--config", ROOT / ".squawk.toml", "--reporter", "json"]
        command += sorted(Path(folder).iterdir())
        result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  a list, no shell
        try:
            reports = json.loads(result.stdout)
        except ValueError:
            sys.exit(f"error: squawk says nothing that can be read\n{result.stderr}")
    found: dict[str, list[MigrationProblem]] = {name: [] for name in sql}
    for report in reports:
        name = Path(report["file"]).stem
        statement = sql[name].splitlines()[report["line"]].strip()
        words = " ".join(filter(None, [report["message"], report["help"], f"[{statement[:120]}]"]))
        found[name].append(MigrationProblem(report["rule_name"], words))
    return found


def judge(found: list[MigrationProblem], source: str) -> Iterator[MigrationProblem]:
    """Take away what the migration's own file accepts, and say where it accepts without a reason or a need."""
    accepted = set()
    for comment in ACCEPTED.finditer(source):
        rules = set(re.split(r", *", comment["rules"]))
        if not comment["reason"]:
            yield MigrationProblem("squawk-ignore", f"Say after a colon why {comment['rules']} is accepted.")
        accepted |= rules
    for rule in sorted(accepted - {finding.rule for finding in found}):
        yield MigrationProblem("squawk-ignore", f"There is no {rule} to accept here.")
    yield from (finding for finding in found if finding.rule not in accepted)


def display(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


if __name__ == "__main__":
    sys.exit(main())
