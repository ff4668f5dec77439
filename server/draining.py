"""Draining on SIGTERM: gunicorn serves on for a while and asks for no more traffic before it stops.

A load balancer hears of a stop later than the process does. A server that closed its socket at once would refuse what is
sent to it meanwhile, so for a while it only announces the stop: `/readyz/` answers 503, and each response closes its
connection.
"""

import signal
from typing import Any

from apps.core import draining


def before_stopping(arbiter: Any, seconds: float) -> None:
    """Make a SIGTERM drain gunicorn for so long before it stops as it always did.

    A second SIGTERM ends the wait. SIGINT and SIGQUIT, a developer's Ctrl-C, stop at once, as ever. The arbiter goes on
    with its work meanwhile: a worker that dies is replaced.
    """
    stop = arbiter.handle_term

    def drain() -> None:
        if draining.is_on():
            stop()
        draining.begin()
        arbiter.log.info("Draining for %g s: /readyz/ answers 503", seconds)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    # The arbiter runs handle_<name> for a signal from its queue, on its main loop. Workers inherit no timer.
    arbiter.handle_term = drain
    arbiter.handle_alrm = stop
    signal.signal(signal.SIGALRM, arbiter.signal)
