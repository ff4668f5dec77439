"""Code reloading for `make up`: gunicorn's --reload, which here survives code that cannot be loaded.

gunicorn watches the files of loaded modules, so neither one that fails to load nor one that is missing; and for every
error but SyntaxError, a worker that cannot load the application ends the server. Here a worker watches all source
files, and responds with the traceback while the application cannot be loaded.
"""

import importlib
import os
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gunicorn import util  # type: ignore[import-untyped]  # it ships no types
from gunicorn.reloader import ReloaderBase  # type: ignore[import-untyped]  # it ships no types

from apps.core import configuration
from config import env

ROOT = Path(__file__).resolve().parent.parent
IGNORED_FOLDERS = {"tests", "node_modules", "__pycache__"}


class SourceWatcher(ReloaderBase):  # type: ignore[misc]  # it ships no types
    """Call back once, when a source file was changed, created or deleted since the watcher was created."""

    def __init__(self, callback: Callable[[str], None]) -> None:
        super().__init__(callback=callback)
        self._before = dict(_stamps())

    def run(self) -> None:
        while not (changed := dict(_stamps()).items() ^ self._before.items()):
            time.sleep(self._interval)
        self._callback(min(changed)[0])


def _stamps() -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield each source file with its modification time and size."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in IGNORED_FOLDERS and not name.startswith(".")]
        for name in files:
            if name.endswith(".py"):
                path = os.path.join(folder, name)  # noqa: PTH118  runs each second, in half of Path's time
                try:
                    status = os.stat(path)  # noqa: PTH116  as above
                except OSError:
                    continue
                yield path, (status.st_mtime_ns, status.st_size)


def load(app: Any, log: Any) -> Any:
    """Return the application, or one that responds with the traceback of loading it."""
    try:
        # The arbiter has imported it before the fork: a key that was added since is unknown there.
        for module in (configuration, *importlib.reload(env).DECLARATIONS, env):
            importlib.reload(module)
        return app.wsgi()
    # Invalid settings raise SystemExit. Any error may be fixed by the next change.
    except (Exception, SystemExit) as error:
        log.exception("The application cannot be loaded. It will be loaded again when a file changes.")
        return util.make_fail_app("".join(traceback.format_exception(error)))
