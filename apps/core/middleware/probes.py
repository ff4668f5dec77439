"""The probes of an orchestrator, answered before anything that could refuse, redirect or hang.

`/livez/` says that the process answers and which version it is, `/ping/` that its database does too, `/readyz/` that
it may be sent traffic: its database takes writes and has the migrations it needs, and it is not about to stop.
Load balancers probe by bare IP and over plain HTTP, so this is the first middleware: no host check, no redirect.
They probe every few seconds, so the log has a line only where what a probe finds has changed.
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
# Migrations that were complete are believed to be so for this long: to know it, every migration file is read.
MIGRATIONS_CACHE_S = 30

Check = Callable[[], bool]


class DatabaseProbe:
    """Asks the database questions on a thread and a connection of its own, and never waits longer than `TIMEOUT_S`.

    A server that accepts connections and then says nothing (paused, stopped, cut off) would block the asking thread for
    as long as it likes. Here only the probe's thread blocks, all who wait for the same question share its one answer, and
    the request threads stay free.
    """

    only_reads = False
    """What the database said of itself when it was last reached."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="probe")
        self._lock = threading.Lock()
        self._pending: dict[Check, Future[bool]] = {}

    def passes(self, question: Check) -> bool:
        """Return whether the database said yes within `TIMEOUT_S`."""
        with self._lock:
            pending = self._pending.get(question)
            if pending is None or pending.done():
                pending = self._pending[question] = self._thread.submit(self._ask, question)
        try:
            return pending.result(TIMEOUT_S)
        except TimeoutError:
            return False

    def close(self) -> None:
        """Close the probe's connection; the next question opens another."""
        # `connection` is the probe's own only when it is looked up on the probe's thread.
        self._thread.submit(self._close).result()

    def _close(self) -> None:
        connection.close()

    def _ask(self, question: Check) -> bool:
        try:
            connection.close_if_unusable_or_obsolete()
            return question()
        # Whatever went wrong, the probe's answer is the same; the requests themselves log what happened to them.
        except Exception:  # noqa: BLE001
            connection.close()
            return False


def is_reachable() -> bool:
    """Ask the database for an answer, and note whether it takes writes: not a standby, nor one that was told to only read.

    A transaction finds that out when it begins, so a connection that is kept learns of a change by this question. One that
    only reads is not kept: the next may lead to another server.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('transaction_read_only')::bool")
        (database.only_reads,) = cursor.fetchone()
    if database.only_reads:
        connection.close()
    return True


class IsMigrated:
    """Ask whether the database has every migration of this code. A yes holds for `MIGRATIONS_CACHE_S`, a no not at all."""

    def __init__(self) -> None:
        self._known_until = 0.0

    def __call__(self) -> bool:
        if time.monotonic() < self._known_until:
            return True
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return False
        self._known_until = time.monotonic() + MIGRATIONS_CACHE_S
        return True


database = DatabaseProbe()
is_migrated = IsMigrated()


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """What a probe answers, and by the name of each check that fails, what it found: nothing where all is well."""

    body: dict[str, Any]
    failing: dict[str, str] = field(default_factory=dict)


class TransitionLogger:
    """Logs when a probe begins to fail, fails for another reason, or succeeds again; each worker for itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failing: dict[str, dict[str, str]] = {}

    def note(self, probe: str, failing: dict[str, str]) -> None:
        """Log a finding, unless the last one was the same."""
        with self._lock:
            before = self._failing.get(probe, {})
            self._failing[probe] = failing
        if failing == before:
            return
        if failing:
            logger.warning("Probe fails", extra={"probe": probe, "failing": failing})
        else:
            logger.info("Probe succeeds again", extra={"probe": probe})


class ProbesMiddleware:
    """Answer `/ping/`, `/livez/` and `/readyz/`; pass everything else on."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._changes = TransitionLogger()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        probe = _PROBES.get(request.path_info)
        if probe is None:
            return self.get_response(request)
        if request.method not in {"GET", "HEAD"}:
            refusal = from_exception(request, MethodNotAllowed(request.method or ""))
            refusal["Allow"] = "GET, HEAD"
            return refusal
        found = probe()
        self._changes.note(probe.__name__, found.failing)
        response = JsonResponse(found.body, status=503 if found.failing else 200)
        PROBES.labels(probe.__name__, response.status_code).inc()
        response["Cache-Control"] = "no-store"
        if found.failing:
            response["Retry-After"] = str(UNAVAILABLE_RETRY_AFTER_S)
        return response


def livez() -> ProbeResult:
    """Succeed whenever the process can answer at all, with the commit it was built from: a deployment asks for it."""
    return ProbeResult(body={"status": "ok", "version": settings.REVISION})


def ping() -> ProbeResult:
    """Succeed if the database answers; never tell the reason, which is the operators' business."""
    state = "ok" if database.passes(is_reachable) else "unavailable"
    return ProbeResult(body={"pong": True, "db": state}, failing=_failing({"database": state}))


def readyz() -> ProbeResult:
    """Succeed if this server serves, and its database answers, takes writes and knows every migration of this code."""
    reachable = database.passes(is_reachable)
    checks = {
        "server": "draining" if draining.is_on() else "ok",
        "database": ("read_only" if database.only_reads else "ok") if reachable else "unavailable",
        # Unreachable says nothing about migrations, and asking again would wait again.
        "migrations": ("ok" if database.passes(is_migrated) else "pending") if reachable else "unknown",
    }
    failing = _failing(checks)
    return ProbeResult(body={"status": "unavailable" if failing else "ok", "checks": checks}, failing=failing)


def _failing(checks: dict[str, str]) -> dict[str, str]:
    return {name: state for name, state in checks.items() if state != "ok"}


_PROBES = {"/livez/": livez, "/ping/": ping, "/readyz/": readyz}
PATHS = frozenset(_PROBES)
