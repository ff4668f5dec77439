"""Prometheus metrics of the replica."""

from typing import Final

from prometheus_client import Counter, Gauge

REPLICA_READS: Final = Counter(
    "app_replica_reads_total",
    "Reads that may use the replica, by the server that answered and the reason.",
    ["alias", "reason"],
)
for _alias, _reasons in {
    "replica": ("fresh", "version"),
    "default": ("lag", "version", "transaction", "failed", "paused", "not_a_replica"),
}.items():
    for _reason in _reasons:
        REPLICA_READS.labels(_alias, _reason)
REPLICA_LAG: Final = Gauge(
    "app_replica_lag_seconds",
    "How far the replica was behind when it was last asked.",
    # The newest of all workers' answers.
    multiprocess_mode="livemostrecent",
)
# A series without a value is none.
REPLICA_LAG.set(0)
