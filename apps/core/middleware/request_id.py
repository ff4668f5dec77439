"""Request ids: one for the response header, the problem body, every log line and the Sentry event of a request."""

import re
import uuid
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse

_VALID_ID = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)


def current_request_id() -> str:
    """Return the id of the request being served, or "-" outside of one."""
    return str(structlog.contextvars.get_contextvars().get("request_id", "-"))


class RequestIdMiddleware:
    """Take the caller's `X-Request-ID` if it is 8 to 64 of `A-Za-z0-9._-`, else make one; send it back."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        sent = request.headers.get("X-Request-ID", "")
        request_id = sent if _VALID_ID.fullmatch(sent) else uuid.uuid4().hex
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response
