"""Growth of this process's metrics since a moment: its registry lives as long as it does."""

from collections.abc import Callable

from prometheus_client import REGISTRY


def counting(*families: str) -> Callable[[], dict[str, float]]:
    """Return a function that returns by how much these counters and histograms have grown from now on, by their labels."""

    def counts() -> dict[str, float]:
        return {
            "/".join(sample.labels.values()): sample.value
            for family in REGISTRY.collect()
            if family.name in families
            for sample in family.samples
            if sample.name.endswith(("_total", "_count"))
        }

    before = counts()
    return lambda: {labels: value - before[labels] for labels, value in counts().items() if value != before[labels]}
