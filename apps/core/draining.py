"""The flag by which gunicorn's processes share that this server is draining: `/readyz/` answers 503 while it is set."""

import mmap
from typing import Final

# One byte that gunicorn's arbiter and the workers it forks share: no file, so nothing to place, to permit or to clean up.
_drains: Final = mmap.mmap(-1, 1)


def is_on() -> bool:
    """Return whether this server drains."""
    return _drains[0] != 0


def begin() -> None:
    """Set the flag for every worker; it is never cleared."""
    _drains[0] = 1
