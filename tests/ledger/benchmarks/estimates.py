"""Estimates of the benchmark: percentiles, and medians of ratios with a bootstrap interval."""

import math
import random
import statistics
from collections.abc import Sequence
from typing import NamedTuple

RESAMPLES = 2000


class Interval(NamedTuple):
    """A median and the interval in which it lies with a confidence of 95 %."""

    low: float
    median: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


def percentile(values: Sequence[float], part: float) -> float:
    """Return the smallest value that at least this part of all values does not exceed (nearest rank)."""
    ordered = sorted(values)
    if not ordered:
        return float("nan")
    return ordered[max(1, math.ceil(part * len(ordered))) - 1]


def bootstrap(values: Sequence[float], seed: int) -> Interval:
    """Return the median of the rounds, and its percentile bootstrap interval: resampled rounds, with replacement."""
    random_ = random.Random(seed)
    medians = sorted(statistics.median(random_.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return Interval(
        percentile(medians, 0.025),
        statistics.median(values),
        percentile(medians, 0.975),
    )


def ratio(numerators: Sequence[float], denominators: Sequence[float], seed: int) -> Interval:
    """Return the median of the ratios that are taken inside each round, with its interval.

    Inside a round both were measured within seconds of each other, so what else the machine did divides out.
    """
    return bootstrap([one / other for one, other in zip(numerators, denominators, strict=True)], seed)
