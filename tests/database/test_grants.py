"""Two roles on a real server: the one that owns the tables migrates, the one that serves can do its work and no more."""

import uuid

import pytest
from django.core.management import CommandError, call_command
from django.db.models import ProtectedError
from django.test import Client
from psycopg import errors
from rest_framework.test import APIClient

from apps.core import housekeeping
from apps.core.middleware import probes
from apps.core.models import HousekeepingRun
from apps.database import grants
from apps.users.models import User
from tests.support.configuration import FULL
from tests.support.password_postgres import APP_ROLE, NAME, OWNER, connected
from tests.support.processes import run

PASSWORD = "correct horse battery staple"

FORBIDDEN = [
    # Rows that are declared to stay as they are.
    "UPDATE users_token SET expires_at = 'infinity'",
    "TRUNCATE users_token",
    "INSERT INTO users_token SELECT * FROM users_token ON CONFLICT (id) DO UPDATE SET expires_at = 'infinity'",
    "DELETE FROM core_housekeepingrun",
    "MERGE INTO core_housekeepingrun USING users_user ON true WHEN MATCHED THEN DELETE",
    "UPDATE django_admin_log SET action_flag = 1",
    "DELETE FROM django_admin_log",
    "TRUNCATE django_admin_log",
    "INSERT INTO django_migrations (app, name, applied) VALUES ('users', '9999', now())",
    "DELETE FROM auth_permission",
    "DO $$ BEGIN LOCK TABLE django_admin_log IN ACCESS EXCLUSIVE MODE; END $$",
    # Tables, triggers and constraints stay as they are.
    "ALTER TABLE users_user DISABLE TRIGGER ALL",
    "ALTER TABLE users_loginfailures DROP CONSTRAINT login_failures_are_never_negative",
    "DROP TABLE users_token",
    "CREATE TRIGGER mine BEFORE INSERT ON users_token FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE RULE mine AS ON INSERT TO users_token DO INSTEAD NOTHING",
    "SET session_replication_role = replica",
    # The role creates nothing.
    "CREATE TABLE mine ()",
    "CREATE TEMPORARY TABLE mine ()",
    "CREATE VIEW mine AS SELECT * FROM users_token",
    "CREATE INDEX ON users_token (expires_at)",
    "CREATE SCHEMA mine",
    "CREATE DATABASE mine",
    "CREATE EXTENSION dblink",
    # It becomes no other role, and reaches no file of the machine.
    f"SET ROLE {OWNER}",
    f"SET SESSION AUTHORIZATION {OWNER}",
    "CREATE ROLE mine SUPERUSER",
    f"ALTER ROLE {APP_ROLE} SUPERUSER",
    f"GRANT {OWNER} TO {APP_ROLE}",
    "SELECT * FROM pg_authid",
    "COPY users_user TO PROGRAM 'cat'",
    "COPY users_user FROM PROGRAM 'id'",
    "COPY users_user TO '/tmp/users'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT lo_import('/etc/passwd')",
    "ALTER SYSTEM SET fsync = off",
    f"ALTER DATABASE {NAME} SET session_replication_role = replica",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_role_that_serves_may_not(app_role_connection, statement):
    with pytest.raises(errors.InsufficientPrivilege):
        app_role_connection.execute(statement)


def test_it_cannot_give_itself_what_it_has_not(app_role_connection):
    app_role_connection.execute(f"GRANT ALL ON users_token TO {APP_ROLE}")  # a warning: there is nothing to give

    row = app_role_connection.execute("SELECT has_table_privilege('users_token', 'UPDATE, TRUNCATE')").fetchone()
    assert row == (False,)


def test_its_rights_are_those_that_are_declared_and_no_others(two_role_database):
    with two_role_database.as_owner() as connection:
        rows = connection.execute(
            "SELECT relname, string_agg(privilege_type, ', ' ORDER BY privilege_type) FROM pg_class, aclexplode(relacl)"
            " WHERE relkind = 'r' AND grantee = %s::regrole AND relnamespace = 'public'::regnamespace GROUP BY relname",
            [APP_ROLE],
        ).fetchall()
    rights = dict(rows)

    assert rights["users_token"] == "DELETE, INSERT, SELECT"
    assert rights["core_housekeepingrun"] == "INSERT, SELECT, UPDATE"
    assert rights["django_admin_log"] == "INSERT, SELECT"
    assert rights["users_user"] == rights["django_session"] == "DELETE, INSERT, SELECT, UPDATE"
    assert rights["django_migrations"] == "SELECT"
    assert grants.table_privileges().keys() <= rights.keys()
    everything = {"SELECT", "INSERT", "UPDATE", "DELETE"}
    assert {right for granted in rights.values() for right in granted.split(", ")} == everything


class TestItsWork:
    """All that users and operators do, done by the role that serves."""

    def test_the_api(self, as_app_role, settings):
        names = {"username": f"ada-{uuid.uuid4().hex}", "password": PASSWORD}
        client = APIClient()

        def send(status, method, path, body=None, client=client, **headers):
            response = getattr(client, method)(f"/api{path}", body, headers=headers)
            assert response.status_code == status, response.content
            return response.json() if response.content else None

        send(201, "post", "/v1/users/", names)
        send(400, "post", "/token/", names | {"password": "wrong"})
        for _ in range(settings.TOKENS_PER_USER + 1):
            token = send(200, "post", "/token/", names)["token"]
        client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
        send(204, "post", "/v1/users/me/password/", {"current_password": PASSWORD, "new_password": PASSWORD[::-1]})
        send(401, "get", "/v1/users/me/")
        token = send(200, "post", "/token/", names | {"password": PASSWORD[::-1]}, client=APIClient())["token"]
        client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
        send(204, "delete", "/token/")

        for _ in range(2):
            call_command("housekeeping", "--verify")
        # The cleanup, and a verification if an app has anything to check.
        assert HousekeepingRun.objects.filter(failed_at=None).count() == (2 if housekeeping.checks else 1)

    def test_the_admin(self, as_app_role):
        root = User.objects.create_superuser(f"root-{uuid.uuid4().hex}", "", PASSWORD)
        browser = Client()
        response = browser.post("/admin/login/", {"username": root.username, "password": PASSWORD})
        assert response.status_code == 302
        for table in ("users/user", "auth/group"):
            assert browser.get(f"/admin/{table}/").status_code == 200

        assert browser.post("/admin/auth/group/add/", {"name": "auditors"}).status_code == 302
        new = {"username": "clerk", "password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
        assert browser.post("/admin/users/user/add/", new).status_code == 302
        clerk = User.objects.get(username="clerk")
        assert browser.post(f"/admin/users/user/{clerk.pk}/delete/", {"post": "yes"}).status_code == 302
        assert not User.objects.filter(username="clerk").exists()

        # Whoever has lines in the admin's log stays, by whatever road.
        path = f"/admin/users/user/{root.pk}/delete/"
        assert f"The admin&#x27;s log of {root}" in browser.get(path).content.decode()
        assert browser.post(path, {"post": "yes"}).status_code == 200
        with pytest.raises(ProtectedError):
            root.delete()
        assert User.objects.filter(pk=root.pk).exists()
        assert browser.get("/admin/").status_code == 200
        browser.logout()
        assert browser.get("/admin/").status_code == 302

    def test_the_probes(self, as_app_role):
        try:
            assert Client().get("/ping/").status_code == 200
            assert Client().get("/readyz/").status_code == 200
        finally:
            probes.database.close()


class TestGranting:
    def test_a_table_that_is_made_later_is_of_use_at_once(self, two_role_database, app_role_connection):
        with two_role_database.as_owner() as owner:
            owner.execute("CREATE TABLE later (id int GENERATED BY DEFAULT AS IDENTITY, old serial)")
        try:
            app_role_connection.execute("INSERT INTO later DEFAULT VALUES")
            with pytest.raises(errors.InsufficientPrivilege):
                app_role_connection.execute("TRUNCATE later")
        finally:
            with two_role_database.as_owner() as owner:
                owner.execute("DROP TABLE later")

    def test_what_is_too_much_or_missing_is_put_right_by_the_next_migrate(
        self, two_role_database, migrates_as_owner, app_role_connection
    ):
        with two_role_database.as_owner() as owner:
            owner.execute(f"GRANT ALL ON users_token TO {APP_ROLE}; REVOKE ALL ON users_user FROM {APP_ROLE}")

        call_command("migrate", verbosity=0)

        assert User.objects.count() >= 0
        with pytest.raises(errors.InsufficientPrivilege):
            app_role_connection.execute("UPDATE users_token SET expires_at = 'infinity'")

    @pytest.mark.parametrize(
        ("also", "undo", "words"),
        [
            (f"ALTER ROLE {APP_ROLE} SUPERUSER", f"ALTER ROLE {APP_ROLE} NOSUPERUSER", "may act as"),
            (
                f"GRANT {OWNER} TO {APP_ROLE}",
                f"REVOKE {OWNER} FROM {APP_ROLE}",
                f"may act as pg_database_owner, {OWNER}",
            ),
            (
                f"ALTER DATABASE {NAME} OWNER TO {APP_ROLE}",
                f"ALTER DATABASE {NAME} OWNER TO {OWNER}",
                f"act as.* {APP_ROLE}",
            ),
            (
                f"GRANT pg_execute_server_program TO {APP_ROLE}",
                f"REVOKE pg_execute_server_program FROM {APP_ROLE}",
                "may act as pg_execute_server_program",
            ),
            (
                f"ALTER ROLE {APP_ROLE} RENAME TO gone",
                f"ALTER ROLE gone RENAME TO {APP_ROLE}",
                "does not exist: manage.py prepare_database",
            ),
        ],
    )
    def test_a_role_that_no_grant_would_bind_is_refused(self, two_role_database, migrates_as_owner, also, undo, words):
        two_role_database.password_postgres.owner.execute(also)
        try:
            with pytest.raises(CommandError, match=words):
                call_command("migrate", verbosity=0)
        finally:
            two_role_database.password_postgres.owner.execute(undo)
            two_role_database.password_postgres.owner.execute(f"ALTER ROLE {APP_ROLE} PASSWORD 'tellers'")

    def test_one_role_for_both_is_granted_nothing(self, two_role_database, as_app_role, capsys):
        with connected(two_role_database.owner_url):
            call_command("migrate")

        assert "Granted" not in capsys.readouterr().out

    def test_the_role_that_serves_cannot_migrate(self, as_app_role):
        with pytest.raises(Exception, match=r"must be owner|permission denied"):
            call_command("migrate", "users", "0001", verbosity=0)


def test_only_migrate_has_the_owners_url(two_role_database):
    """The process that serves never reads it from the secret, where it would be a way round every grant."""
    from config.env import KEYS

    assert KEYS["MIGRATION_DATABASE_URL"].environment_only
    code = "import config.settings.production as s; print(s.MIGRATION_DATABASE, s.DATABASES['default']['USER'])"
    given = FULL | {"DATABASE_URL": two_role_database.app_role_url}
    assert run("-c", code, **given).stdout.split() == ["None", APP_ROLE]
