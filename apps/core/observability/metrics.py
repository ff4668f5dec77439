"""Prometheus metrics of requests, probes and database connections; docs/metrics.md lists those of every app.

`server.metrics` adds up the workers' values; in any other process they stay there. Two rules: a label's value is one of
our own words, never a client's, and every series exists from the start, at 0, because a rate that begins with the first
event misses that event.
"""

from collections.abc import Callable, Iterable
from functools import cache
from itertools import product
from typing import Any, Final, TypeVar

from django.http import HttpRequest, HttpResponse
from django_prometheus.middleware import PrometheusAfterMiddleware
from prometheus_client import Counter, Gauge, Histogram

M = TypeVar("M", Counter, Gauge, Histogram)


def with_all_label_values(metric: M, **values: Iterable[str]) -> M:
    """Create all series of a metric, one for every combination of its labels' values."""
    for combination in product(*values.values()):
        metric.labels(**dict(zip(values, combination, strict=True)))
    return metric


# --- Requests --------------------------------------------------------------------------------------------------------

REQUESTS_IN_PROGRESS: Final = Gauge(
    "app_requests_in_progress",
    "Requests that are being worked on now, probes aside; app_threads is how many can be.",
    # A worker's share ends with the worker, however it ends.
    multiprocess_mode="livesum",
)
PROBES: Final = with_all_label_values(
    Counter("app_probes_total", "Probes by the answer they got.", ["probe", "status"]),
    probe=("livez", "ping", "readyz"),
    status=("200", "503"),
)

REQUESTS_THROTTLED: Final = with_all_label_values(
    Counter("app_requests_throttled_total", "Requests that a throttle refused.", ["limit"]),
    limit=("user", "anonymous"),
)
REQUESTS_UNCOUNTED: Final = Counter(
    "app_requests_uncounted_total", "Requests that no throttle counted, because its cache did not answer."
)


class RequestsInProgressMiddleware:
    """Count requests while they are worked on."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with REQUESTS_IN_PROGRESS.track_inprogress():
            return self.get_response(request)


class BoundedAfterMiddleware(PrometheusAfterMiddleware):  # type: ignore[misc]  # it ships no types
    """django-prometheus's, with known methods only: it puts the client's own word into one label of latencies."""

    def label_metric(self, metric: Any, request: HttpRequest, response: Any = None, **labels: str) -> Any:
        if "method" in labels:
            labels["method"] = self._method(request)
        return _series(metric, *labels.items()) if labels else metric


@cache
def _series(metric: Any, *labels: tuple[str, str]) -> Any:
    """Return a metric's series, remembered: prometheus_client looks it up under a lock."""
    return metric.labels(**dict(labels))


# --- The database ----------------------------------------------------------------------------------------------------

DB_CONNECT: Final = Histogram(
    "app_db_connect_seconds",
    "Time to open a database connection, of those that were opened.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2),
)
DB_CONNECT_FAILURES: Final = with_all_label_values(
    Counter("app_db_connect_failures_total", "Database connections that could not be opened.", ["reason"]),
    reason=("refused", "timeout", "authentication", "too_many", "other"),
)
