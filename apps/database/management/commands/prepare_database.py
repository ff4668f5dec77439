"""The database's two roles, made as DATABASE_URL and MIGRATION_DATABASE_URL name them, with the master's login."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from psycopg.sql import SQL, Identifier, Literal

from apps.database import grants
from apps.database.roles import connected_as

IS_SUPERUSER_SQL = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
IS_OWNED_SQL = "SELECT pg_get_userbyid(datdba) = %s FROM pg_database WHERE datname = current_database()"


class Command(BaseCommand):
    """Create both roles, or give them the passwords of the URLs, give the database to the owner, and grant.

    It logs in as DATABASE_MASTER_USER, who may be no superuser: RDS's master owns the database and may create roles. Running
    it again changes nothing but passwords, so a rotation is a new password, or another serving role, in the URL and another
    run. The owner becomes a member of the serving role, so that it can see and end that role's sessions. The serving role
    may have as many connections as DATABASE_MAX_CONNECTIONS leaves beside DATABASE_RESERVED_CONNECTIONS.
    """

    help = "Create the roles of DATABASE_URL and MIGRATION_DATABASE_URL, or set their passwords. May be run again."

    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections["default"]
        serving, owner, master = _entries(connection)
        with connected_as(connection, owner | master), connection.cursor() as cursor:
            for entry in (owner, serving):
                self._set_role(connection, cursor, entry)
            cursor.execute(
                SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(
                    Identifier(serving["USER"]), Literal(settings.DATABASE_CONNECTION_LIMIT)
                )
            )
            self._give_database(cursor, connection.settings_dict["NAME"], owner["USER"])
            cursor.execute(SQL("GRANT {} TO {}").format(Identifier(serving["USER"]), Identifier(owner["USER"])))
        with connected_as(connection, owner):
            grants.ensure_separate(connection, serving["USER"])
            grants.grant(connection, serving["USER"])

    def _set_role(self, connection: BaseDatabaseWrapper, cursor: CursorWrapper, entry: dict[str, Any]) -> None:
        name = entry["USER"]
        cursor.execute("SELECT count(*) FROM pg_roles WHERE rolname = %s", [name])
        exists = cursor.fetchone() == (1,)
        # The server gets a verifier, as from psql's \password, and so no log of it ever has the password.
        verifier = connection.connection.pgconn.encrypt_password(entry["PASSWORD"].encode(), name.encode()).decode()
        statement = SQL("{} ROLE {} LOGIN PASSWORD {}").format(
            SQL("ALTER" if exists else "CREATE"), Identifier(name), Literal(verifier)
        )
        cursor.execute(statement)
        self.stdout.write(f"{'Set the password of' if exists else 'Created'} the role {name}.")

    def _give_database(self, cursor: CursorWrapper, database: str, owner: str) -> None:
        cursor.execute(IS_OWNED_SQL, [owner])
        if cursor.fetchone() == (True,):
            return
        cursor.execute(IS_SUPERUSER_SQL)
        if cursor.fetchone() == (False,):
            # Only who may act as the new owner may give something to it.
            cursor.execute(SQL("GRANT {} TO CURRENT_USER").format(Identifier(owner)))
        cursor.execute(SQL("ALTER DATABASE {} OWNER TO {}").format(Identifier(database), Identifier(owner)))
        self.stdout.write(f"Gave the database {database} to {owner}.")


def _entries(connection: BaseDatabaseWrapper) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the serving role's entry, the owner's and the master's login. Raises: CommandError for what is missing."""
    serving, owner, master = connection.settings_dict, settings.MIGRATION_DATABASE, settings.DATABASE_MASTER
    missing = [
        name
        for name, value in {
            "MIGRATION_DATABASE_URL": owner,
            "DATABASE_MASTER_USER": master["USER"],
            "DATABASE_MASTER_PASSWORD": master["PASSWORD"],
        }.items()
        if not value
    ]
    if missing or owner is None:
        message = f"needs {', '.join(missing)}"
        raise CommandError(message)
    if serving["USER"] in {owner["USER"], master["USER"]} or owner["USER"] == master["USER"]:
        message = (
            "DATABASE_URL, MIGRATION_DATABASE_URL and DATABASE_MASTER_USER must name three roles: the master's password is"
            " rotated by others, and the serving role must not own the tables"
        )
        raise CommandError(message)
    if serving["NAME"] != owner["NAME"]:
        message = "DATABASE_URL and MIGRATION_DATABASE_URL name two databases"
        raise CommandError(message)
    return dict(serving), owner, master
