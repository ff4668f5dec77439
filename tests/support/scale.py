"""Sizes of tests: a quick one for every run, a long one for proofs."""

from typing import Any

import pytest

# In `make test-long`, tests that open a hundred connections or measure response times run one after another.
crowds = pytest.mark.xdist_group("crowds")


def sizes(quick: int, long: int) -> list[Any]:
    """Return the parameters of a test that `make test` runs with `quick` and `make test-long` with `long`."""
    return [quick, pytest.param(long, marks=pytest.mark.long)]
