"""Metrics and one JSON log line for each request, as the product has them; shared by the contenders that claim them."""

import json
import sys
import time
import uuid
from datetime import UTC, datetime

from prometheus_client import Counter, Histogram

REQUESTS = Counter("http_requests_total", "Requests.", ["method", "route", "status"])
SECONDS = Histogram(
    "http_request_seconds",
    "Durations.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2.5, 5),
)


def new_request_id() -> str:
    return uuid.uuid4().hex


def record(*, method: str, route: str, status: int, started: float, request_id: str, user_id: str | None) -> None:
    """Count a request and log it; `started` is of time.perf_counter."""
    seconds = time.perf_counter() - started
    REQUESTS.labels(method, route, str(status)).inc()
    SECONDS.labels(method, route).observe(seconds)
    line = {
        "timestamp": datetime.now(UTC).isoformat(),
        "level": "info",
        "event": "Request finished",
        "request_id": request_id,
        "method": method,
        "route": route,
        "status": status,
        "duration_ms": round(seconds * 1000, 1),
        "user_id": user_id,
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
