"""Health probes: `/livez/`, `/ping/` and `/readyz/`, answered before any middleware that could reject or redirect.

`/livez/` checks that the process answers, and returns its version. `/ping/` checks that the database answers as well.
`/readyz/` checks that the server may get traffic: its database takes writes and has every migration, and it is not
draining; it reports the states of what it can do without (`reported_states`), and never fails for them. Load balancers
probe by bare IP and over plain HTTP, so there is no host check and no redirect. They probe every few seconds, so only a
change of a probe's result is logged.

Note [Bounded probe]
Why the probe has a thread, when each connection has a response timeout (apps.database.postgresql): connecting is not
bounded as tightly. psycopg gives each host of DATABASE_URL at least 2 s (two silent hosts took 4.0 s, three 6.0 s, with
connect_timeout=1), and a name lookup has no limit. `/ping/` must answer within 3 s in all these cases. The thread may
stay blocked for longer; the probe's answer does not wait for it. All waiters share one check and one connection, so a
silent database does not get one more connection per probe.
Neither mechanism can do the other's work. A blocked name lookup cannot be interrupted, only left behind on another thread.
A request cannot leave its statement behind: it must know that the connection is broken and its locks are gone.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from rest_framework.exceptions import MethodNotAllowed

from apps.core import draining
from apps.core.observability.metrics import PROBES
from apps.core.problem import UNAVAILABLE_RETRY_AFTER_S, from_exception

logger = logging.getLogger(__name__)

TIMEOUT_S = 2.5
# How long a complete set of migrations is cached: each check reads every migration file.
MIGRATIONS_CACHE_S = 30

Check = Callable[[], bool]


class DatabaseProbe:
    """Run checks of the database on a thread and a connection of its own; a caller waits `TIMEOUT_S` at most.

    Callers that wait for the same check share its result. See Note [Bounded probe].
    """

    only_reads = False
    """Whether the database was read-only when it was last reached."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="probe")
        self._lock = threading.Lock()
        self._pending: dict[Check, Future[bool]] = {}

    def passes(self, check: Check) -> bool:
        """Return whether the check succeeded within `TIMEOUT_S`."""
        with self._lock:
            pending = self._pending.get(check)
            if pending is None or pending.done():
                pending = self._pending[check] = self._thread.submit(self._run, check)
        try:
            return pending.result(TIMEOUT_S)
        except TimeoutError:
            return False

    def close(self) -> None:
        """Close the probe's connection; the next check opens another."""
        # `connection` is the probe's own only when it is looked up on the probe's thread.
        self._thread.submit(self._close).result()

    def _close(self) -> None:
        connection.close()

    def _run(self, check: Check) -> bool:
        try:
            connection.close_if_unusable_or_obsolete()
            return check()
        # The probe's answer is the same for every error; requests log theirs.
        except Exception:  # noqa: BLE001
            connection.close()
            return False


def is_reachable() -> bool:
    """Return True if the database answers, and record whether it is read-only: a standby, or set to be.

    A transaction's mode is fixed when it begins, so each check reads it anew. A read-only connection is closed: the next may
    lead to another server.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('transaction_read_only')::bool")
        (database.only_reads,) = cursor.fetchone()
    if database.only_reads:
        connection.close()
    return True


class IsMigrated:
    """Check that the database has every migration of this code; success is cached for `MIGRATIONS_CACHE_S`."""

    def __init__(self) -> None:
        self._cached_until = 0.0

    def __call__(self) -> bool:
        if time.monotonic() < self._cached_until:
            return True
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return False
        self._cached_until = time.monotonic() + MIGRATIONS_CACHE_S
        return True


reported_states: dict[str, Callable[[], str]] = {}
"""States that `/readyz/` reports and does not fail for, by name; they are known already, so that reporting costs no call."""

database = DatabaseProbe()
is_migrated = IsMigrated()


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """A probe's response body, and the state of each failing check by its name; empty if all succeed."""

    body: dict[str, Any]
    failing: dict[str, str] = field(default_factory=dict)


class TransitionLogger:
    """Log when a probe starts to fail, fails for another reason, or succeeds again; per worker."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failing: dict[str, dict[str, str]] = {}

    def record(self, probe: str, failing: dict[str, str]) -> None:
        """Log a result that differs from the last one."""
        with self._lock:
            before = self._failing.get(probe, {})
            self._failing[probe] = failing
        if failing == before:
            return
        if failing:
            logger.warning("Probe failed", extra={"probe": probe, "failing": failing})
        else:
            logger.info("Probe recovered", extra={"probe": probe})


class ProbesMiddleware:
    """Answer `/ping/`, `/livez/` and `/readyz/`; pass everything else on."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._transitions = TransitionLogger()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        probe = _PROBES.get(request.path_info)
        if probe is None:
            return self.get_response(request)
        if request.method not in {"GET", "HEAD"}:
            not_allowed = from_exception(request, MethodNotAllowed(request.method or ""))
            not_allowed["Allow"] = "GET, HEAD"
            return not_allowed
        result = probe()
        self._transitions.record(probe.__name__, result.failing)
        response = JsonResponse(result.body, status=503 if result.failing else 200)
        PROBES.labels(probe.__name__, response.status_code).inc()
        response["Cache-Control"] = "no-store"
        if result.failing:
            response["Retry-After"] = str(UNAVAILABLE_RETRY_AFTER_S)
        return response


def livez() -> ProbeResult:
    """Succeed if the process can answer; the body has the commit it was built from, which deployments check."""
    return ProbeResult(body={"status": "ok", "version": settings.REVISION})


def ping() -> ProbeResult:
    """Succeed if the database answers. The response never holds the reason of a failure."""
    state = "ok" if database.passes(is_reachable) else "unavailable"
    return ProbeResult(body={"pong": True, "db": state}, failing=_failing({"database": state}))


def readyz() -> ProbeResult:
    """Succeed if this server is not draining, and its database answers, takes writes and has every migration."""
    reachable = database.passes(is_reachable)
    checks = {
        "server": "draining" if draining.is_on() else "ok",
        "database": ("read_only" if database.only_reads else "ok") if reachable else "unavailable",
        # Without a connection the migrations are unknown, and a second check would wait again.
        "migrations": ("ok" if database.passes(is_migrated) else "pending") if reachable else "unknown",
    }
    failing = _failing(checks)
    checks |= {name: state() for name, state in reported_states.items()}
    return ProbeResult(body={"status": "unavailable" if failing else "ok", "checks": checks}, failing=failing)


def _failing(checks: dict[str, str]) -> dict[str, str]:
    return {name: state for name, state in checks.items() if state != "ok"}


_PROBES = {"/livez/": livez, "/ping/": ping, "/readyz/": readyz}
PATHS = frozenset(_PROBES)
