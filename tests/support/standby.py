"""Streaming standby of a PostgreSQL of the tests, made by pg_basebackup."""

import contextlib
import shutil
import socket
import time
from typing import Self

import psycopg

from devtools.embedded_postgres import ROLE
from tests.support.password_postgres import PasswordPostgres
from tests.support.patience import HANG_S


class Pair:
    """A primary, and a standby that follows it; both can be made read-only."""

    def __init__(self, primary: PasswordPostgres) -> None:
        self.primary = primary
        self.cluster = primary.cluster
        self.programs = self.cluster._reachable_binaries()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.standby_port = free.getsockname()[1]

    def __enter__(self) -> Self:
        with (self.cluster.data / "pg_hba.conf").open("a") as rules:
            rules.write("local replication all peer map=checkout\nhost replication web 127.0.0.1/32 trust\n")
        self.primary.owner.execute("ALTER ROLE web REPLICATION")
        reload(self.primary.owner)
        source = f"host=127.0.0.1 port={self.primary.port} user=web"
        self.cluster._run(
            self.programs / "pg_basebackup",
            *("--pgdata=standby", "--write-recovery-conf", "--checkpoint=fast", f"--dbname={source}"),
        )
        self.start_standby()
        self.standby = psycopg.connect(
            host=str(self.cluster.sockets), port=self.standby_port, user=ROLE, dbname="postgres", autocommit=True
        )
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(AttributeError):
            self.standby.close()
        self.pg_ctl("stop", "--mode=immediate")
        shutil.rmtree(self.cluster.home / "standby", ignore_errors=True)

    def start_standby(self) -> None:
        settings = (
            f"port={self.standby_port}",
            "listen_addresses=127.0.0.1",
            f"cluster_name={self.cluster.title}",
            f"unix_socket_directories={self.cluster.sockets}",
            "fsync=off",
        )
        options = " ".join(f"-c {option}" for option in settings)
        self.pg_ctl("start", "--silent", "--log=standby.log", f"--options={options}")

    def pg_ctl(self, verb: str, *options: str) -> None:
        self.cluster._run(self.programs / "pg_ctl", verb, "--wait", "--pgdata=standby", *options)

    def promote(self) -> None:
        self.pg_ctl("promote")

    @property
    def url(self) -> str:
        """Both, of which the one is wanted that writes."""
        hosts = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby_port}"
        return f"postgres://web:first@{hosts}/web?target_session_attrs=read-write"

    @property
    def standby_url(self) -> str:
        return f"postgres://web:first@127.0.0.1:{self.standby_port}/web"

    def wait_for_replay(self) -> None:
        """Wait until the standby has replayed all that the primary has written."""
        (written,) = self.primary.owner.execute("SELECT pg_current_wal_lsn()").fetchone()
        deadline = time.monotonic() + HANG_S
        while not self.standby.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [written]).fetchone()[0]:
            assert time.monotonic() < deadline, "the standby does not follow"
            time.sleep(0.01)


def reload(server: psycopg.Connection) -> None:
    server.execute("SELECT pg_reload_conf()")
