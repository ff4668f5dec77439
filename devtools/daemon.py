"""Daemons: programs that keep running after the command that started them has exited.

Standard library only: devtools/native.py imports it before the virtual environment exists.
"""

# A command line tool's: it prints, and runs commands, without a shell.
# ruff: noqa: T201, S603

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class DevtoolsError(Exception):
    """The command failed; the message is for the developer."""


@dataclass(frozen=True)
class Daemon:
    """A background program that runs at most once. Its log, lock and state are files in `folder`, named after it."""

    name: str
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def _lock(self) -> Path:
        """A file lock that every process of the program holds: it is free exactly when none is alive."""
        return self.folder / f"{self.name}.lock"

    @property
    def _state(self) -> Path:
        return self.folder / f"{self.name}.json"

    def start(self, command: Sequence[str], env: Mapping[str, str], **state: str | int) -> None:
        """Start the program, and store `state` with its process id."""
        with contextlib.suppress(FileNotFoundError):
            self.log.replace(self.log.with_suffix(".log.old"))
        with self._lock.open("a") as lock, self.log.open("a") as log:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[lock.fileno()],
            )
            self._state.write_text(json.dumps({"pid": process.pid} | state))

    def running(self) -> dict[str, str | int] | None:
        """Return the stored state while the program runs, else None."""
        with contextlib.suppress(FileNotFoundError), self._lock.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                state: dict[str, str | int] = json.loads(self._state.read_text())
                return state
        return None

    def stop(self, *, within_s: float) -> bool:
        """Stop the program: SIGTERM, after `within_s` seconds SIGKILL. Return False if it was not running."""
        state = self.running()
        if state is None:
            return False
        # The group's id cannot be reused while one of its processes is alive.
        group = int(state["pid"])
        for number, seconds in ((signal.SIGTERM, within_s), (signal.SIGKILL, 5)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)
            deadline = time.monotonic() + seconds
            while self.running() is not None and time.monotonic() < deadline:
                time.sleep(0.1)
            if self.running() is None:
                return True
        raise DevtoolsError(f"{self.name} (process group {group}) does not stop")

    def show_log_tail(self) -> None:
        """Print the end of the log."""
        print(f"--- the end of {self.log}:".replace(f"{ROOT}/", ""), file=sys.stderr)
        print("\n".join(self.log.read_text(errors="replace").splitlines()[-60:]), file=sys.stderr)
