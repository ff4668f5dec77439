"""Draining flag, shared by gunicorn's processes: `/readyz/` returns 503 while it is set."""

import mmap
from typing import Final

# One byte of memory that gunicorn's arbiter and its workers share. A file would need a place, rights and cleaning up.
_drains: Final = mmap.mmap(-1, 1)


def is_on() -> bool:
    """Return whether this server drains."""
    return _drains[0] != 0


def begin() -> None:
    """Set the flag for every worker; it is never cleared."""
    _drains[0] = 1
