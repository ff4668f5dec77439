"""Programs that go on when the command that started them has ended.

Standard library only: devtools/native.py stands on it.
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
    """What was asked for cannot be done; the message is for the person at the keyboard."""


@dataclass(frozen=True)
class Background:
    """A program that runs in the background, at most once; its files are in a folder, called by its name."""

    name: str
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def _lock(self) -> Path:
        """Held by every process of the program, so it tells exactly whether one lives."""
        return self.folder / f"{self.name}.lock"

    @property
    def _state(self) -> Path:
        return self.folder / f"{self.name}.json"

    def start(self, command: Sequence[str], env: Mapping[str, str], **state: str | int) -> None:
        """Start it, and remember what it was started with."""
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
        """Return what it was started with, or None if it does not run."""
        with contextlib.suppress(FileNotFoundError), self._lock.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                state: dict[str, str | int] = json.loads(self._state.read_text())
                return state
        return None

    def stop(self, *, within_s: float) -> bool:
        """Stop it, at the latest by force; return False if it did not run."""
        state = self.running()
        if state is None:
            return False
        # While one of its processes lives the number belongs to their group and to nobody else.
        group = int(state["pid"])
        for number, seconds in ((signal.SIGTERM, within_s), (signal.SIGKILL, 5)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)
            deadline = time.monotonic() + seconds
            while self.running() is not None and time.monotonic() < deadline:
                time.sleep(0.1)
            if self.running() is None:
                return True
        raise DevtoolsError(f"{self.name} (process group {group}) does not end")

    def show_log_tail(self) -> None:
        """Print the end of its log."""
        print(f"--- the end of {self.log}:".replace(f"{ROOT}/", ""), file=sys.stderr)
        print("\n".join(self.log.read_text(errors="replace").splitlines()[-60:]), file=sys.stderr)
