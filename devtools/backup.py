"""Backup, restore and restore drill of the local database: `make backup`, `make restore`, `make restore-drill`.

`deploy/backup` does the work; this gives it the database of the settings and, after a restore, migrates and verifies what
the apps register (`manage.py housekeeping --verify`).
"""

# A command line tool: it prints, reads the environment, and runs a script of this repository.
# ruff: noqa: T201, TID251, S603

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.backends.postgresql.client import DatabaseClient

from devtools import embedded_postgres
from devtools.daemon import ROOT, DevtoolsError

DRILL_SUFFIX = "_restore_drill"


def libpq_environment(database: dict[str, Any]) -> dict[str, str]:
    """Return the environment in which PostgreSQL's programs reach a database of Django's settings."""
    _, found = DatabaseClient.settings_to_cmd_args_env(database, [])
    names = {"PGHOST": "HOST", "PGPORT": "PORT", "PGUSER": "USER", "PGDATABASE": "NAME"}
    found = (found or {}) | {name: str(database[key]) for name, key in names.items() if database.get(key)}
    return {**os.environ, **found, "PATH": f"{embedded_postgres.binaries()}:{os.environ['PATH']}"}


def run(*command: str | Path, **variables: str) -> None:
    """Run a program on the tables' owner's database. Raises: DevtoolsError if it fails."""
    sys.stdout.flush()
    environment = libpq_environment(settings.MIGRATION_DATABASE or connection.settings_dict) | variables
    if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
        raise DevtoolsError(f"{Path(command[0]).name} {command[1]} failed: the reason is above")


def create(file: str) -> None:
    name = connection.settings_dict["NAME"]
    run(ROOT / "deploy" / "backup", "create", file or f"backups/{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.dump")


def restore(file: str, *, force: bool) -> None:
    run(ROOT / "deploy" / "backup", "restore", file, FORCE=str(int(force)))
    migrate_and_verify()


def migrate_and_verify() -> None:
    """Bring the tables to this code's version, with the grants, and check what is stored."""
    call_command("migrate", interactive=False, verbosity=0)
    try:
        call_command("housekeeping", verify=True)
    except SystemExit as error:
        raise DevtoolsError(f"housekeeping --verify exits with {error.code}: see its line above") from error
    print("Verified what is stored")


def drill() -> None:
    """Restore a backup of the database into a scratch one, compare each table's rows, verify, and print the times."""
    database = connection.settings_dict
    if settings.MIGRATION_DATABASE:
        raise DevtoolsError("the drill creates a database: run it as one role, without MIGRATION_DATABASE_URL")
    with tempfile.TemporaryDirectory() as folder, closing(connection):
        file = f"{folder}/drill.dump"
        with timed("backup"), snapshot() as snapshot_id:
            before = rows()
            run(ROOT / "deploy" / "backup", "create", file, f"--snapshot={snapshot_id}")
        scratch, usual = f"{database['NAME']}{DRILL_SUFFIX}", database["NAME"]
        run("dropdb", "--if-exists", scratch, PGOPTIONS="-c client_min_messages=warning")
        run("createdb", scratch)
        try:
            connection.close()
            database["NAME"] = scratch
            with timed("restore"):
                run(ROOT / "deploy" / "backup", "restore", file)
            after = rows()
            if before != after:
                raise DevtoolsError(f"rows differ: {sorted(before.items() ^ after.items())}")
            print(f"Each of {len(after)} tables has its rows again, {sum(after.values())} in all")
            with timed("migrate and verify"):
                migrate_and_verify()
        finally:
            connection.close()
            database["NAME"] = usual
            run("dropdb", "--force", scratch)


@contextmanager
def snapshot() -> Iterator[str]:
    """Hold a snapshot of the database that another session can use too; yield its id."""
    connection.set_autocommit(False)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            cursor.execute("SELECT pg_export_snapshot()")
            yield cursor.fetchone()[0]
    finally:
        connection.rollback()
        connection.set_autocommit(True)


def rows() -> dict[str, int]:
    """Return the number of rows of each table."""
    with connection.cursor() as cursor:
        found = {}
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT count(*) FROM {connection.ops.quote_name(table)}")  # noqa: S608  a table's name
            found[table] = cursor.fetchone()[0]
        return found


@contextmanager
def timed(step: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    print(f"{step}: {time.monotonic() - started:.1f} s")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m devtools.backup", description="Back up and restore the local database."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("create").add_argument("file", nargs="?", default="")
    restoring = verbs.add_parser("restore")
    restoring.add_argument("file")
    restoring.add_argument("--force", action="store_true", help="replace a database that is not empty")
    verbs.add_parser("drill")
    chosen = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.local")
    django.setup()
    try:
        if chosen.verb == "create":
            create(chosen.file)
        elif chosen.verb == "restore":
            restore(chosen.file, force=chosen.force)
        else:
            drill()
    except DevtoolsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
