"""Waiting in tests for something to happen, however slow the machine is.

A test that measures whether something was quick decides by what else the machine does. So a test looks at what happened, how
often and in which order; where it must wait, it waits until `HANG_S`, which only a hang breaches. Figures are for `make
test-long` and for the reader of a report.
"""

import time
from collections.abc import Callable
from typing import Final, TypeVar

HANG_S: Final = 60.0

T = TypeVar("T")


def eventually(look: Callable[[], T], what: Callable[[], str] = str) -> T:
    """Call `look` until it returns a true value, and return that; `what` returns the message of the failure."""
    deadline = time.monotonic() + HANG_S
    while not (seen := look()):
        assert time.monotonic() < deadline, what()
        time.sleep(0.01)
    return seen
