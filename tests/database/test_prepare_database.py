"""`manage.py prepare_database`, on a server whose master is RDS's: no superuser, and the owner of the database."""

import io
from collections.abc import Iterator
from urllib.parse import quote

import psycopg
import pytest
from django.core.management import CommandError, call_command

from apps.database.grants import OWNED_TABLES_SQL
from config.settings.base import database
from tests.support.configuration import FULL
from tests.support.password_postgres import PasswordPostgres, connected
from tests.support.processes import run

NAME, MASTER, OWNER, SERVING = "prepared", "master", "prepared_owner", "prepared_app"
# A name and passwords that need quoting, in SQL and in a URL.
PASSWORD = 'it\'s "quoted" 100%'


@pytest.fixture
def rds(password_postgres: PasswordPostgres) -> Iterator[PasswordPostgres]:
    """The server with RDS's master and database."""
    superuser = password_postgres.owner
    superuser.execute(f"CREATE ROLE {MASTER} LOGIN CREATEDB CREATEROLE NOSUPERUSER PASSWORD 'first'")
    superuser.execute(f"CREATE DATABASE {NAME} OWNER {MASTER}")
    yield password_postgres
    superuser.execute(f"DROP DATABASE {NAME} WITH (FORCE)")
    for role in (SERVING, f"{SERVING}_2", OWNER, MASTER):
        superuser.execute(f"DROP ROLE IF EXISTS {role}")


@pytest.fixture
def given(rds):
    return FULL | {
        "DATABASE_URL": rds.url(quote(PASSWORD, safe=""), SERVING, NAME),
        "MIGRATION_DATABASE_URL": rds.url("owners", OWNER, NAME),
        "DATABASE_MASTER_USER": MASTER,
        "DATABASE_MASTER_PASSWORD": "first",
    }


@pytest.fixture
def prepare(rds, settings, django_db_blocker):
    """Run the command in this process, with what the variables give; return its lines."""

    def prepare(*arguments: str, **given: str) -> list[str]:
        owner_url, out = given["MIGRATION_DATABASE_URL"], io.StringIO()
        settings.MIGRATION_DATABASE = database(owner_url, key="MIGRATION_DATABASE_URL") if owner_url else None
        settings.DATABASE_MASTER = {
            "USER": given["DATABASE_MASTER_USER"],
            "PASSWORD": given["DATABASE_MASTER_PASSWORD"],
        }
        with django_db_blocker.unblock(), connected(given["DATABASE_URL"]):
            call_command("prepare_database", *arguments, stdout=out)
        return out.getvalue().splitlines()

    return prepare


@pytest.mark.slow
def test_makes_both_roles_and_then_the_database_is_migrated_and_serves(rds, given):
    budget = {"DATABASE_MAX_CONNECTIONS": "100", "DATABASE_RESERVED_CONNECTIONS": "10"}
    outcome = run("manage.py", "prepare_database", **given, **budget)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert outcome.stdout.splitlines() == [
        f"Created the role {OWNER}.",
        f"Created the role {SERVING}.",
        f"Gave the database {NAME} to {OWNER}.",
    ]
    limits = rds.owner.execute("SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", [SERVING]).fetchone()
    assert limits == (90,)

    migrated = run("manage.py", "migrate", "--noinput", **given)

    assert migrated.returncode == 0, migrated.stderr
    assert migrated.stdout.endswith(f"Granted the application's privileges to the role {SERVING}.\n")
    with rds.connect(SERVING, quote(PASSWORD, safe=""), NAME) as serving:
        assert serving.execute("SELECT count(*) FROM users_user").fetchone() == (0,)
        assert serving.execute(OWNED_TABLES_SQL).fetchall() == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            serving.execute("CREATE TABLE mine ()")

    # RDS rotates its master's password every seven days. The migration's login is another role's.
    rds.owner.execute(f"ALTER ROLE {MASTER} PASSWORD 'rotated'")
    again = run("manage.py", "migrate", "--noinput", **given)
    assert (again.returncode, again.stderr) == (0, "")

    # A rotation: the other role serves at once, and the first one does until nobody uses it.
    given |= {"DATABASE_URL": rds.url("second", f"{SERVING}_2", NAME), "DATABASE_MASTER_PASSWORD": "rotated"}
    rotated = run("manage.py", "prepare_database", **given)
    assert (rotated.returncode, rotated.stderr) == (0, "")
    for role, password in ((SERVING, quote(PASSWORD, safe="")), (f"{SERVING}_2", "second")):
        with rds.connect(role, password, NAME) as serving:
            assert serving.execute("SELECT count(*) FROM users_user").fetchone() == (0,)
            assert serving.execute(OWNED_TABLES_SQL).fetchall() == []
    # The owner sees and ends the sessions of both.
    with rds.connect(OWNER, "owners", NAME) as owner, rds.connect(SERVING, quote(PASSWORD, safe=""), NAME) as serving:
        assert owner.execute("SELECT pg_terminate_backend(%s)", [serving.info.backend_pid]).fetchone() == (True,)


def test_again_changes_the_passwords_and_nothing_else(rds, given, prepare):
    assert len(prepare(**given)) == 3
    given |= {
        "DATABASE_URL": rds.url("another", SERVING, NAME),
        "MIGRATION_DATABASE_URL": rds.url("another", OWNER, NAME),
    }

    assert prepare(**given) == [
        f"Set the password of the role {OWNER}.",
        f"Set the password of the role {SERVING}.",
    ]
    for role in (OWNER, SERVING):
        rds.connect(role, "another", NAME).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        rds.connect(OWNER, "owners", NAME)


def test_a_superuser_is_a_master_too(rds, given, prepare):
    rds.owner.execute(f"ALTER ROLE {MASTER} SUPERUSER")

    assert prepare(**given)[-1] == f"Gave the database {NAME} to {OWNER}."
    memberships = "SELECT count(*) FROM pg_auth_members WHERE member = %s::regrole AND roleid = %s::regrole"
    assert rds.owner.execute(memberships, [MASTER, OWNER]).fetchone() == (0,)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"DATABASE_MASTER_PASSWORD": ""}, "needs DATABASE_MASTER_PASSWORD"),
        ({"MIGRATION_DATABASE_URL": ""}, "needs MIGRATION_DATABASE_URL"),
        ({"DATABASE_MASTER_USER": OWNER}, "must name three roles"),
        ({"DATABASE_MASTER_USER": SERVING}, "must name three roles"),
        ({"DATABASE_URL": f"postgres://{OWNER}:owners@127.0.0.1/{NAME}"}, "must name three roles"),
        ({"DATABASE_URL": f"postgres://{SERVING}:x@127.0.0.1/other"}, "name two databases"),
    ],
)
def test_what_would_not_hold_is_refused(rds, given, prepare, changed, reason):
    with pytest.raises(CommandError, match=reason):
        prepare(**given | changed)

    roles = rds.owner.execute("SELECT count(*) FROM pg_roles WHERE rolname = ANY(%s)", [[OWNER, SERVING]]).fetchone()
    assert roles == (0,)
