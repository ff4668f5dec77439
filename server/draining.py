"""Graceful shutdown: after SIGTERM gunicorn keeps serving for DRAIN_SECONDS while `/readyz/` returns 503.

A load balancer notices a stop later than the process does. A server that closed its socket at once would refuse the requests
sent meanwhile, so at first it only announces the stop: `/readyz/` returns 503, and each response closes its connection.
"""

import signal
from typing import Any

from apps.core import draining


def drain_before_stop(arbiter: Any, seconds: float) -> None:
    """Make SIGTERM drain for this many seconds before gunicorn's usual stop.

    A second SIGTERM ends the wait. SIGINT and SIGQUIT, a developer's Ctrl-C, stop at once as before. The arbiter keeps
    working meanwhile: a worker that dies is replaced.
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
