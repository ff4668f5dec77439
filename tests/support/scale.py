"""The same test in two sizes: one for every run, one for proofs."""

from typing import Any

import pytest

# In `make test-long` those who open a hundred connections, and measure how long an answer takes, come one after another.
crowds = pytest.mark.xdist_group("crowds")


def sizes(quick: int, long: int) -> list[Any]:
    """Return the parameters of a test that `make test` runs with `quick` and `make test-long` with `long`."""
    return [quick, pytest.param(long, marks=pytest.mark.long)]
