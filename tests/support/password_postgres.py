"""PostgreSQL server with passwords, and a database with two roles; the suite's own server has one role, without one."""

import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import psycopg
from django.db import connections

from config.settings.base import database
from devtools.embedded_postgres import ROLE, Cluster
from tests.support.patience import HANG_S

# The owner of the tables, the role that serves, and their database.
OWNER, APP_ROLE, NAME = "table_owner", "app_role", "two_roles"


class PasswordPostgres:
    """A PostgreSQL of the test's own that requires a password of every role (scram-sha-256), on a loopback address."""

    def __init__(self, checkout: Path, host: str = "127.0.0.1", port: int = 0, **settings: int) -> None:
        self.cluster = Cluster("test", checkout)
        self.settings = settings
        self.host = host
        with socket.create_server((host, port)) as free:
            self.port = free.getsockname()[1]

    def __enter__(self) -> Self:
        cluster = self.cluster
        cluster._make_state()
        cluster._make_home()
        programs = cluster._reachable_binaries()
        cluster._initdb(programs)
        with (cluster.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 127.0.0.0/8 scram-sha-256\n")
        options = [
            f"listen_addresses={self.host}",
            f"port={self.port}",
            f"unix_socket_directories={cluster.sockets}",
            f"cluster_name={cluster.title}",
            "fsync=off",
            *(f"{name}={value}" for name, value in self.settings.items()),
        ]
        cluster._run(
            programs / "pg_ctl",
            "start",
            "--silent",
            "--wait",
            f"--pgdata={cluster.data.name}",
            f"--log={cluster.log.name}",
            f"--options={' '.join(f'-c {option}' for option in options)}",
        )
        self.owner = self.connect_as_superuser("postgres")
        self.owner.execute("CREATE ROLE web LOGIN PASSWORD 'first'")
        self.owner.execute("CREATE DATABASE web OWNER web")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.owner.close()
        self.cluster.remove()
        shutil.rmtree(self.cluster.state, ignore_errors=True)

    def url(self, password: str, user: str = "web", name: str = "web") -> str:
        return f"postgres://{user}:{password}@{self.host}:{self.port}/{name}"

    def connect(self, user: str, password: str, name: str) -> psycopg.Connection:
        return psycopg.connect(self.url(password, user, name), autocommit=True)

    def connect_as_superuser(self, name: str) -> psycopg.Connection:
        return psycopg.connect(host=str(self.cluster.sockets), port=self.port, user=ROLE, dbname=name, autocommit=True)

    def rotate(self, password: str) -> None:
        self.owner.execute(f"ALTER ROLE web PASSWORD '{password}'")

    def end_idle_connections(self) -> int:
        """Make every session log in again, as a failover or a maintenance would, without breaking a statement."""
        deadline = time.monotonic() + HANG_S
        ended = 0
        # On a busy machine there are moments in which no session is between two statements.
        while not ended and time.monotonic() < deadline:
            (ended,) = self.owner.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'web' AND state = 'idle'"
            ).fetchone()
        return ended


class TwoRoleDatabase:
    """A database that belongs to one role and is used by another."""

    def __init__(self, password_postgres: PasswordPostgres) -> None:
        self.password_postgres = password_postgres
        self.owner_url = password_postgres.url("owners", OWNER, NAME)
        self.app_role_url = password_postgres.url("tellers", APP_ROLE, NAME)
        for role, password in ((OWNER, "owners"), (APP_ROLE, "tellers")):
            password_postgres.owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        password_postgres.owner.execute(f"CREATE DATABASE {NAME} OWNER {OWNER}")

    def remove(self) -> None:
        self.password_postgres.owner.execute(f"DROP DATABASE {NAME} WITH (FORCE)")
        for role in (APP_ROLE, OWNER):
            self.password_postgres.owner.execute(f"DROP ROLE {role}")

    def as_app_role(self) -> psycopg.Connection:
        return self.password_postgres.connect(APP_ROLE, "tellers", NAME)

    def as_owner(self) -> psycopg.Connection:
        return self.password_postgres.connect(OWNER, "owners", NAME)


@contextmanager
def connected(url: str) -> Iterator[None]:
    """Let Django's own connection be one to another database, or of another role."""
    default = connections["default"]
    usual = default.settings_dict.copy()
    default.close()
    default.settings_dict.update(database(url))
    try:
        yield
    finally:
        default.close()
        default.settings_dict.clear()
        default.settings_dict.update(usual)
