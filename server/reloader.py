"""Reloading for `make up`: gunicorn's --reload, which here also outlives code that cannot be loaded.

gunicorn watches the files of modules that are loaded. One that fails is not among them, nor one that is missing; and but for
a SyntaxError a worker that cannot load the application ends the server for good. Here a worker watches all source files,
and while the application cannot be loaded, it answers with the traceback.
"""

import os
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gunicorn import util  # type: ignore[import-untyped]  # it ships no types
from gunicorn.reloader import ReloaderBase  # type: ignore[import-untyped]  # it ships no types

ROOT = Path(__file__).resolve().parent.parent
NOT_SERVED = {"tests", "node_modules", "__pycache__"}


class SourceWatcher(ReloaderBase):  # type: ignore[misc]  # it ships no types
    """Calls back once, when a source file has been changed, made or deleted since this was made."""

    def __init__(self, callback: Callable[[str], None]) -> None:
        super().__init__(callback=callback)
        self._before = dict(_stamps())

    def run(self) -> None:
        while not (changed := dict(_stamps()).items() ^ self._before.items()):
            time.sleep(self._interval)
        self._callback(min(changed)[0])


def _stamps() -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield each source file with what changes when it is written."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in NOT_SERVED and not name.startswith(".")]
        for name in files:
            if name.endswith(".py"):
                path = os.path.join(folder, name)  # noqa: PTH118  a second's work: half the time of Path's
                try:
                    status = os.stat(path)  # noqa: PTH116  as above
                except OSError:
                    continue
                yield path, (status.st_mtime_ns, status.st_size)


def load(app: Any, log: Any) -> Any:
    """Return the application, or one that answers with the reason why there is none."""
    try:
        return app.wsgi()
    # Settings that are no good end the process, too; whatever it is, the next change may mend it.
    except (Exception, SystemExit) as error:
        log.exception("The application cannot be loaded. It will be loaded again when a file changes.")
        return util.make_fail_app("".join(traceback.format_exception(error)))
