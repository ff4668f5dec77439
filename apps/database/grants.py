"""What the application's role may do: `manage.py migrate` grants it at its end, each time, and takes away all else.

Not a migration file, which would run once: before the role was there, or for a role that has another name by now. Here a
new table, a new role and a changed line below are all in force when the next `migrate` ends.

The role owns nothing, so it can change no table, trigger or constraint, whatever a hole in the application lets through.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from django.core.management.base import CommandError
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

# What any table is for; TRUNCATE, REFERENCES, TRIGGER and MAINTAIN nobody needs.
USUAL: Final = "SELECT, INSERT, UPDATE, DELETE"
# What is not there for changing.
LESS: Final[Mapping[str, str]] = {
    "ledger_entry": "SELECT, INSERT",
    "ledger_transaction": "SELECT, INSERT",
    # Whose an account is, in which currency, and under which key it was opened, is for good.
    "ledger_account": "SELECT, INSERT, UPDATE (name, balance, version, status, closed_at)",
    # Never deleted.
    "core_housekeepingrun": "SELECT, INSERT, UPDATE",
    "users_token": "SELECT, INSERT, DELETE",
    # Who did something in the admin is deactivated and not deleted (apps.users.admin).
    "django_admin_log": "SELECT, INSERT",
    # Written by `migrate`.
    "auth_permission": "SELECT",
    "django_content_type": "SELECT",
    "django_migrations": "SELECT",
}

# Roles whose members can do more than any grant says.
POWERS: Final = [
    "pg_execute_server_program",
    "pg_maintain",
    "pg_read_server_files",
    "pg_write_all_data",
    "pg_write_server_files",
]
# A superuser is a member of every role.
ACTS_AS: Final = """
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
OUR_TABLES: Final = """
    SELECT relname FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
      AND pg_has_role(relowner, 'USAGE')
    ORDER BY relname
"""


def ensure_separate(connection: BaseDatabaseWrapper, role: str) -> None:
    """Refuse a role that is not there, and one that could do what it is granted not to."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_roles WHERE rolname = %s", [role])
        if cursor.fetchone() == (0,):
            raise CommandError(
                f"DATABASE_URL names the role {role}, which is not there: CREATE ROLE {_quoted(role)} LOGIN"
                " PASSWORD '...' (docs/database.md)"
            )
        cursor.execute(ACTS_AS, {"role": role, "powers": POWERS})
        powers = [power for (power,) in cursor.fetchall()]
    if powers:
        raise CommandError(
            f"DATABASE_URL names the role {role}, which no grant would bind: it may act as {', '.join(powers)}"
            " (docs/database.md)"
        )


def grant(connection: BaseDatabaseWrapper, role: str) -> None:
    """Give the role what the tables of the current schema are for, in one transaction, and nothing else."""
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute(OUR_TABLES)
        tables = [table for (table,) in cursor.fetchall()]
        cursor.execute(
            "SELECT current_schema(), current_database(),"
            " (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database())"
        )
        schema, database, database_is_ours = cursor.fetchone()
        for statement in _statements(
            _quoted(role),
            schema=_quoted(schema),
            database=_quoted(database) if database_is_ours else None,
            tables={table: _quoted(table) for table in tables},
        ):
            cursor.execute(statement)


def _statements(role: str, *, schema: str, database: str | None, tables: Mapping[str, str]) -> Iterator[str]:
    if database:
        # Everybody's in a new database (temporary tables), and in one from before PostgreSQL 15 (tables).
        yield f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC"
        yield f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC"
        yield f"GRANT USAGE ON SCHEMA {schema} TO {role}"
    for table, name in tables.items():
        yield f"REVOKE ALL ON {schema}.{name} FROM {role}"
        yield f"GRANT {LESS.get(table, USUAL)} ON {schema}.{name} TO {role}"
    yield f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"
    # A table that is made between two runs of `migrate`, or by one that ends half way, is of use at once.
    yield f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT {USUAL} ON TABLES TO {role}"
    yield f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE ON SEQUENCES TO {role}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
