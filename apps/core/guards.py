"""Requests that are refused before any view, parser or database sees them."""

import codecs
from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from rest_framework.exceptions import NotAcceptable, UnsupportedMediaType

from apps.core.problem import ProblemResponse, from_exception


class RequestGuardMiddleware:
    """Refuse a host we do not serve, plain HTTP, and a body of unknown length, too large, or not plain UTF-8.

    The API has no redirect to HTTPS: a client would go on sending its token in the clear and never know.

    gunicorn passes a chunked body on without a length and DRF reads it as empty: 411 says so instead (RFC 9110 §15.5.12).
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._refusal(request) or self.get_response(request)

    def _refusal(self, request: HttpRequest) -> ProblemResponse | None:  # noqa: PLR0911  one for each thing refused
        _forget_disputed_scheme(request)
        try:
            request.get_host()
        except DisallowedHost:
            return ProblemResponse(request, status=400, code="invalid_host", detail="This host is not served here.")
        if settings.SECURE_SSL_REDIRECT and request.path_info.startswith("/api/") and not request.is_secure():
            return ProblemResponse(
                request, status=403, code="https_required", detail="The API is served over HTTPS only."
            )
        if "HTTP_TRANSFER_ENCODING" in request.META:
            return ProblemResponse(
                request, status=411, code="length_required", detail="The body must come with a Content-Length."
            )
        if _content_length(request) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            return ProblemResponse(
                request,
                status=413,
                code="body_too_large",
                detail=f"The body may have {settings.DATA_UPLOAD_MAX_MEMORY_SIZE} bytes at most.",
            )
        if not _is_utf8(request) or "Content-Encoding" in request.headers:
            return from_exception(request, UnsupportedMediaType(request.content_type or ""))
        if not _is_readable(request):
            return from_exception(request, NotAcceptable())
        return None


def _forget_disputed_scheme(request: HttpRequest) -> None:
    """Drop a proxy's word on the scheme unless all of it says HTTPS.

    Django believes the first of several: the client's own, where a proxy adds a line instead of replacing it.
    """
    if settings.SECURE_PROXY_SSL_HEADER:
        name, https = settings.SECURE_PROXY_SSL_HEADER
        if {word.strip() for word in request.META.get(name, "").split(",")} != {https}:
            request.META.pop(name, None)


def _is_utf8(request: HttpRequest) -> bool:
    try:
        return codecs.lookup((request.content_params or {}).get("charset", "utf-8")).name == "utf-8"
    # ValueError: a name with a NUL in it.
    except (LookupError, ValueError):
        return False


def _is_readable(request: HttpRequest) -> bool:
    """Tell whether the Accept header can be parsed; DRF, which parses it later, expects nothing else."""
    try:
        return request.accepted_types is not None
    except ValueError:
        return False


def _content_length(request: HttpRequest) -> int:
    declared = request.META.get("CONTENT_LENGTH") or "0"
    return int(declared) if declared.isdecimal() else 0
