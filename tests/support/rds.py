"""RDS on this machine: a PostgreSQL for each instance in moto, with its database and a master who is no superuser."""

import contextlib
import json
import socket
from pathlib import Path
from typing import Any

from psycopg import sql

from devtools.embedded_postgres import ROLE
from tests.support.password_postgres import PasswordPostgres

PORT = 5432


class Rds:
    """The instances; each starts when a task first asks for its address, which is a loopback address of its own."""

    def __init__(self, folder: Path, rds: Any, secrets: Any) -> None:
        self._folder, self._rds, self._secrets = folder, rds, secrets
        self._stack = contextlib.ExitStack()
        self.servers: dict[str, PasswordPostgres] = {}

    def address_of(self, name: str) -> str:
        """Return the address of an instance, which listens on PostgreSQL's port."""
        if name not in self.servers:
            self.servers[name] = self._start(name)
        return self.servers[name].host

    def _start(self, name: str) -> PasswordPostgres:
        (instance,) = self._rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"]
        secret = instance["MasterUserSecret"]["SecretArn"]
        master = json.loads(self._secrets.get_secret_value(SecretId=secret)["SecretString"])
        server = self._stack.enter_context(PasswordPostgres(self._folder / name, free_host(), PORT))
        # The first superuser's name is that of the application's role, which the master is to make.
        server.owner.execute("CREATE ROLE rdsadmin SUPERUSER LOGIN PASSWORD 'rdsadmin'")
        with server.connect("rdsadmin", "rdsadmin", "postgres") as rdsadmin:
            rdsadmin.execute(sql.SQL("ALTER ROLE {} RENAME TO bootstrap").format(sql.Identifier(ROLE)))
        role = sql.Identifier(master["username"])
        # What rds_superuser may, as far as the roles of a deployment matter.
        server.owner.execute(
            sql.SQL("CREATE ROLE {} LOGIN CREATEDB CREATEROLE NOSUPERUSER PASSWORD {}").format(
                role, sql.Literal(master["password"])
            )
        )
        server.owner.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(instance["DBName"]), role))
        return server

    def close(self) -> None:
        """Stop the servers."""
        self._stack.close()


def free_host() -> str:
    """Return a loopback address on which nothing listens on PostgreSQL's port; Linux has all of 127.0.0.0/8."""
    for number in range(2, 255):
        host = f"127.0.0.{number}"
        with contextlib.suppress(OSError), socket.create_server((host, PORT)):
            return host
    raise AssertionError("every loopback address has a PostgreSQL")
