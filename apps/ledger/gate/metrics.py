"""Gate metrics: time spent at the gate. No label names an account."""

from typing import Final

from prometheus_client import Histogram

from apps.core.observability.metrics import with_all_label_values

GATE_WAIT: Final = with_all_label_values(
    Histogram(
        "ledger_gate_wait_seconds",
        "Time at the ledger's gate by outcome; bypassed: its Redis could not be used.",
        ["outcome"],
        buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2),
    ),
    outcome=("entered", "timed_out", "bypassed"),
)
