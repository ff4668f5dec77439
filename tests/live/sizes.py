"""The same test in two sizes: one for every run, one for proofs."""

from typing import Any

import pytest


def sizes(quick: int, long: int) -> list[Any]:
    """Return the parameters of a test that `make test` runs with `quick` and `make test-long` with `long`."""
    return [quick, pytest.param(long, marks=pytest.mark.long)]
