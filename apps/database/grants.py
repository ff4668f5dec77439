"""Grants of the application's database role: each `manage.py migrate` sets them at its end, and revokes all others.

This is no migration file, which would run once: before the role exists, or for a role that has been renamed since. Here
a new table, a new role and a changed declaration are in force when the next `migrate` ends.

The role owns nothing, so it can change no table, trigger or constraint, whatever a hole in the application lets through.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from django.apps import apps
from django.core.management.base import CommandError
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

# Of every table not named below. TRUNCATE, REFERENCES, TRIGGER and MAINTAIN are not needed.
DEFAULT_PRIVILEGES: Final = "SELECT, INSERT, UPDATE, DELETE"
# Of Django's tables. An app's own are `table_privileges` of its AppConfig.
DJANGO_TABLE_PRIVILEGES: Final[Mapping[str, str]] = {
    # Users with actions in the admin's log are deactivated, not deleted (apps.users.admin).
    "django_admin_log": "SELECT, INSERT",
    # Written by `migrate`.
    "auth_permission": "SELECT",
    "django_content_type": "SELECT",
    "django_migrations": "SELECT",
}

# Roles whose members can do more than any grant says.
PRIVILEGED_ROLES: Final = [
    "pg_execute_server_program",
    "pg_maintain",
    "pg_read_server_files",
    "pg_write_all_data",
    "pg_write_server_files",
]
# A superuser is a member of every role.
PRIVILEGED_MEMBERSHIPS_SQL: Final = """
    SELECT power.rolname FROM pg_roles AS power
    WHERE pg_has_role(%(role)s, power.oid, 'MEMBER') AND (
        power.rolname = current_user
        OR power.rolname = ANY(%(powers)s)
        OR power.oid IN (
            SELECT relowner FROM pg_class WHERE relnamespace = current_schema()::regnamespace
            UNION SELECT nspowner FROM pg_namespace WHERE nspname = current_schema()
            UNION SELECT datdba FROM pg_database WHERE datname = current_database()))
    ORDER BY 1
"""
OWNED_TABLES_SQL: Final = """
    SELECT relname FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
      AND pg_has_role(relowner, 'USAGE')
    ORDER BY relname
"""


def table_privileges() -> dict[str, str]:
    """Return the privileges by table, as declared: tables whose rows, or some of whose columns, do not change."""
    declared = [getattr(app, "table_privileges", {}) for app in apps.get_app_configs()]
    return {table: privileges for part in (DJANGO_TABLE_PRIVILEGES, *declared) for table, privileges in part.items()}


def ensure_separate(connection: BaseDatabaseWrapper, role: str) -> None:
    """Raise CommandError for a role that does not exist, or whose memberships exceed any grant."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_roles WHERE rolname = %s", [role])
        if cursor.fetchone() == (0,):
            raise CommandError(
                f"DATABASE_URL names the role {role}, which does not exist: manage.py prepare_database makes it"
                " (docs/database.md)"
            )
        cursor.execute(PRIVILEGED_MEMBERSHIPS_SQL, {"role": role, "powers": PRIVILEGED_ROLES})
        roles = [each for (each,) in cursor.fetchall()]
    if roles:
        raise CommandError(
            f"DATABASE_URL names the role {role}, which no grant would bind: it may act as {', '.join(roles)}"
            " (docs/database.md)"
        )


def grant(connection: BaseDatabaseWrapper, role: str) -> None:
    """Set the role's privileges on the tables of the current schema, in one transaction."""
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute(OWNED_TABLES_SQL)
        tables = [table for (table,) in cursor.fetchall()]
        cursor.execute(
            "SELECT current_schema(), current_database(),"
            " (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database())"
        )
        schema, database, owns_database = cursor.fetchone()
        for statement in _statements(
            _quoted(role),
            schema=_quoted(schema),
            database=_quoted(database) if owns_database else None,
            tables={table: _quoted(table) for table in tables},
        ):
            cursor.execute(statement)


def _statements(role: str, *, schema: str, database: str | None, tables: Mapping[str, str]) -> Iterator[str]:
    if database:
        # PUBLIC has these in a new database (temporary tables), and in one from before PostgreSQL 15 (tables).
        yield f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC"
        yield f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC"
        yield f"GRANT USAGE ON SCHEMA {schema} TO {role}"
    privileges = table_privileges()
    for table, name in tables.items():
        yield f"REVOKE ALL ON {schema}.{name} FROM {role}"
        yield f"GRANT {privileges.get(table, DEFAULT_PRIVILEGES)} ON {schema}.{name} TO {role}"
    yield f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"
    # A table that is created between two runs of `migrate`, or by one that fails later, can be used at once.
    yield f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT {DEFAULT_PRIVILEGES} ON TABLES TO {role}"
    yield f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE ON SEQUENCES TO {role}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
