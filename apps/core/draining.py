"""Between SIGTERM and the end: still serving, and asking for no more traffic.

A load balancer hears of a stop later than the process does. One that closed its door at once would refuse what is sent to
it meanwhile, so for a while it only says so: `/readyz/` answers 503, and each response closes its connection.
"""

import mmap
import signal
from typing import Any, Final

# One byte that gunicorn's arbiter and the workers it forks share: no file, so nothing to place, to permit or to clean up.
_drains: Final = mmap.mmap(-1, 1)


def is_on() -> bool:
    """Tell whether this server drains."""
    return _drains[0] != 0


def begin() -> None:
    """Let every worker know that the server drains; there is no way back."""
    _drains[0] = 1


def before_stopping(arbiter: Any, seconds: float) -> None:
    """Make a SIGTERM drain gunicorn for so long before it stops as it always did.

    A second SIGTERM ends the wait. SIGINT and SIGQUIT, a developer's Ctrl-C, stop at once, as ever. The arbiter goes on
    with its work meanwhile: a worker that dies is replaced.
    """
    stop = arbiter.handle_term

    def drain() -> None:
        if is_on():
            stop()
        begin()
        arbiter.log.info("Draining for %g s: /readyz/ answers 503", seconds)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    # The arbiter runs handle_<name> for a signal from its queue, on its main loop. Workers inherit no timer.
    arbiter.handle_term = drain
    arbiter.handle_alrm = stop
    signal.signal(signal.SIGALRM, arbiter.signal)
