"""Backup, restore and restore drill, on a PostgreSQL with passwords."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from apps.core import housekeeping
from devtools import backup, embedded_postgres
from devtools.daemon import DevtoolsError
from tests.support.password_postgres import OWNER, PasswordPostgres
from tests.support.paths import ROOT
from tests.support.processes import run

pytestmark = pytest.mark.slow

ROLE, NAME, PASSWORD = "keeper", "kept", "a pass:word"


class Kept:
    """A database with example data, and the commands of `make backup`, `make restore` and `make restore-drill` on it."""

    def __init__(self, server: PasswordPostgres, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.url = server.url("a%20pass%3Aword", ROLE, NAME)

    def manage(self, *command: str, **variables: str) -> None:
        result = run("manage.py", *command, settings="local", DATABASE_URL=self.url, **variables)
        assert result.returncode == 0, result.stderr

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return run("-m", "devtools.backup", *command, settings="local", DATABASE_URL=self.url)

    def run_well(self, *command: str | Path) -> str:
        result = self.run(*command)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def error(self, *command: str | Path) -> str:
        """Return the errors of a command that fails and leaves every row as it is."""
        before = self.rows()
        result = self.run(*command)
        assert result.returncode == 1, result.stdout
        assert self.rows() == before
        return result.stderr

    def libpq_environment(self) -> dict[str, str]:
        """Return the variables that deploy/backup needs."""
        names = {"PGHOST": "127.0.0.1", "PGPORT": str(self.server.port), "PGUSER": ROLE, "PGPASSWORD": PASSWORD}
        return names | {"PGDATABASE": NAME, "PATH": f"{embedded_postgres.binaries()}:{os.defpath}"}

    def create(self, name: str) -> Path:
        file = self.folder / name
        self.run_well("create", file)
        return file

    def execute(self, statement: str) -> None:
        with closing(self.server.connect_as_superuser(NAME)) as connection:
            connection.execute(statement)

    def rows(self) -> dict[str, str]:
        """Return the number of each table's rows and a digest of what they hold."""
        with closing(self.server.connect_as_superuser(NAME)) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            digest = "count(*) || ' ' || md5(string_agg(t::text, ' ' ORDER BY t::text))"
            return {name: connection.execute(f"SELECT {digest} FROM {name} t").fetchone()[0] for (name,) in tables}


@pytest.fixture(scope="module")
def kept(password_postgres, tmp_path_factory) -> Iterator[Kept]:
    password_postgres.owner.execute(f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{PASSWORD}'")
    password_postgres.owner.execute(f"CREATE DATABASE {NAME} OWNER {ROLE}")
    kept = Kept(password_postgres, tmp_path_factory.mktemp("backups"))
    kept.manage("migrate")
    kept.manage("createsuperuser", "--noinput", "--username=ada", "--email=", DJANGO_SUPERUSER_PASSWORD=PASSWORD)
    kept.manage("populate")
    yield kept
    password_postgres.owner.execute(f"DROP DATABASE {NAME} WITH (FORCE)")
    password_postgres.owner.execute(f"DROP ROLE {ROLE}")


def test_what_was_backed_up_is_restored_and_verified(kept):
    before = kept.rows()
    file = kept.create("good.dump")
    assert file.stat().st_mode & 0o077 == 0
    # What a later release has made goes as well.
    kept.execute("CREATE TABLE later (id int)")
    kept.execute("UPDATE users_user SET first_name = 'Changed'")

    assert "FORCE=1 replaces everything" in kept.error("restore", file)

    assert "Verified what is stored" in kept.run_well("restore", file, "--force")
    after = kept.rows()
    # Housekeeping's record of its own run is newer.
    assert after.pop("core_housekeepingrun") != before.pop("core_housekeepingrun")
    assert after == before


def test_an_empty_database_needs_no_force(kept, password_postgres):
    file = kept.create("for-an-empty-one.dump")
    password_postgres.owner.execute(f"CREATE DATABASE empty OWNER {ROLE}")
    try:
        url = kept.url.replace(f"/{NAME}", "/empty")
        result = run("-m", "devtools.backup", "restore", file, settings="local", DATABASE_URL=url)
        assert result.returncode == 0, result.stderr
        with closing(password_postgres.connect_as_superuser("empty")) as connection:
            assert connection.execute("SELECT count(*) FROM users_user WHERE username = 'ada'").fetchone() == (1,)
    finally:
        password_postgres.owner.execute("DROP DATABASE empty WITH (FORCE)")


def test_a_damaged_file_changes_nothing(kept):
    file = kept.create("whole.dump")
    damaged = kept.folder / "damaged.dump"
    # Its table of contents can be read, and the end of its data is gone.
    damaged.write_bytes(file.read_bytes()[: file.stat().st_size - 2_000])
    assert "nothing was restored" in kept.error("restore", damaged, "--force")

    damaged.write_text("not a backup")
    assert "is not a backup" in kept.error("restore", damaged, "--force")


def test_a_restore_that_ends_between_two_statements_changes_nothing(kept, tmp_path):
    file = kept.create("ends-early.dump")
    (tmp_path / "pg_restore").write_text(
        "#!/bin/sh\n[ $1 = --list ] && exit\necho 'CREATE TABLE public.half (id int);'\nexit 1\n"
    )
    (tmp_path / "pg_restore").chmod(0o755)
    env = kept.libpq_environment()
    env |= {"PATH": f"{tmp_path}:{env['PATH']}", "FORCE": "1"}
    before = kept.rows()

    restore = [ROOT / "deploy" / "backup", "restore", file]
    done = subprocess.run(restore, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "nothing was restored" in done.stderr
    assert kept.rows() == before


def test_a_table_in_use_ends_it_soon_and_changes_nothing(kept):
    file = kept.create("in-use.dump")
    with closing(kept.server.connect_as_superuser(NAME)) as connection, connection.transaction():
        connection.execute("SELECT 1 FROM users_user")
        assert "nothing was restored" in kept.error("restore", file, "--force")


def test_files_that_are_named_wrongly(kept):
    file = kept.create("once.dump")
    assert "exists: name another file" in kept.error("create", file)
    assert "there is no backup" in kept.error("restore", kept.folder / "no.dump")
    assert "FILE names the backup" in kept.error("restore", "")
    assert not list(kept.folder.glob("*.unfinished"))


def test_a_backup_that_fails_leaves_no_file(kept):
    file = kept.folder / "refused.dump"
    url = kept.url.replace("word", "wrong")
    result = run("-m", "devtools.backup", "create", file, settings="local", DATABASE_URL=url)

    assert result.returncode == 1
    assert "password authentication failed" in result.stderr
    assert not file.exists()


def test_old_backups_are_deleted_after_a_new_one(kept):
    folder = kept.folder / "rotated"
    folder.mkdir()
    ages = {"old.dump": 16, "young.dump": 13, "old.txt": 16}
    for name, days in ages.items():
        (folder / name).touch()
        os.utime(folder / name, (time.time() - days * 86_400,) * 2)
    env = kept.libpq_environment()
    rotate = [ROOT / "deploy" / "backup", "rotate", folder, "14"]

    refused = subprocess.run(
        rotate, env=env | {"PGDATABASE": "postgres://127.0.0.1:9/no"}, capture_output=True, check=False
    )
    assert refused.returncode == 1
    assert {file.name for file in folder.iterdir()} == ages.keys()

    subprocess.run(rotate, env=env, capture_output=True, check=True)
    left = {file.name for file in folder.iterdir()}
    assert left > {"young.dump", "old.txt"}
    assert len(left) == 3
    assert "old.dump" not in left


def test_the_drill_compares_verifies_and_measures(kept):
    before = kept.rows()
    told = kept.run_well("drill")

    assert f"Each of {len(before)} tables has its rows again" in told
    assert "Verified what is stored" in told
    assert [line.partition(":")[0] for line in told.splitlines() if line.endswith(" s")] == [
        "backup",
        "restore",
        "migrate and verify",
    ]
    assert kept.rows() == before
    names = {name for (name,) in kept.server.owner.execute("SELECT datname FROM pg_database")}
    assert not any("drill" in name for name in names)


def test_findings_are_no_success(transactional_db, monkeypatch):
    monkeypatch.setitem(housekeeping.checks, "made up", lambda: ["something is wrong"])

    with pytest.raises(DevtoolsError, match="housekeeping --verify exits with 4"):
        backup.migrate_and_verify()


def test_the_serving_role_has_its_rights_again(two_role_database, tmp_path):
    """Where one role owns the tables and another serves, the owner restores, and `migrate` grants."""
    urls = {
        "DATABASE_URL": two_role_database.app_role_url,
        "MIGRATION_DATABASE_URL": two_role_database.owner_url,
    }
    for command in (("create", tmp_path / "two.dump"), ("restore", tmp_path / "two.dump", "--force")):
        result = run("-m", "devtools.backup", *command, settings="local", **urls)
        assert result.returncode == 0, result.stderr

    with closing(two_role_database.as_app_role()) as connection:
        connection.execute("SELECT count(*) FROM users_user")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("TRUNCATE users_user")
    with closing(two_role_database.as_owner()) as connection:
        owners = connection.execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert owners == [(OWNER,)]
