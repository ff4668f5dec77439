"""Request log: one line for each request, whatever its status."""

import logging
import time
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

logger = logging.getLogger(__name__)


class RequestLogMiddleware:
    """Log the method, the route, the status, the duration and the user: never the path, the query, a header or a body.

    Stands behind the probes, which are too many to log, and before every middleware that may reject a request.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        response = self.get_response(request)
        outcome = {
            "status": response.status_code,
            "duration_ms": round((time.perf_counter() - started) * 1000, 1),
            "user_id": user_id_of(request),
        }
        logger.info("Request finished", extra=log_fields(request) | outcome)
        return response


def log_fields(request: HttpRequest) -> dict[str, Any]:
    """Return the log fields of a request: its method, and its route (null if it was rejected before routing)."""
    match = request.resolver_match
    return {"method": request.method, "route": f"/{match.route}" if match and match.route else None}


def user_id_of(request: HttpRequest) -> str | None:
    """Return the id of the authenticated user, without a query: a user that was not loaded is None."""
    user = getattr(request, "user", None)
    if isinstance(user, SimpleLazyObject):
        user = getattr(request, "_cached_user", None)
    return None if user is None or user.pk is None else str(user.pk)
