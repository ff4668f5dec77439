"""Request validation: reject a request by its host, scheme, length, encoding or NUL before a view or parser reads it.

Note [NUL]
PostgreSQL rejects U+0000 in every text, and third-party code (the admin's filters, the session's cookie, silk) passes
on what it gets. A path with one is 404; elsewhere it is 400. In JSON, and in the forms of the API, our fields reject
it; in a raw header, gunicorn does.
"""

import codecs
import itertools
from collections.abc import Callable, Iterator
from typing import Final

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, QueryDict, UnreadablePostError
from rest_framework.exceptions import NotAcceptable, UnsupportedMediaType

from apps.core.errors import FieldError
from apps.core.middleware.pages import API_PREFIX
from apps.core.problem import BadRequest, InvalidParameters, ProblemResponse, from_exception, not_found

NUL: Final = "\0"
FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")


class RequestValidationMiddleware:
    """Reject unknown hosts, plain HTTP, a body of unknown length, too large, or not plain UTF-8, and NUL anywhere.

    The API has no redirect to HTTPS: a client would keep sending its token in the clear without notice.

    gunicorn passes a chunked body on without a length and DRF reads it as empty: hence 411 (RFC 9110 §15.5.12).
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._reject(request) or self.get_response(request)

    def _reject(self, request: HttpRequest) -> ProblemResponse | None:  # noqa: PLR0911  one for each reason
        _drop_disputed_scheme(request)
        try:
            request.get_host()
        except DisallowedHost:
            return ProblemResponse(request, status=400, code="invalid_host", detail="This host is not served here.")
        if settings.SECURE_SSL_REDIRECT and request.path_info.startswith(API_PREFIX) and not request.is_secure():
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
        return _reject_nul(request)


def _reject_nul(request: HttpRequest) -> ProblemResponse | None:
    """See Note [NUL]."""
    if NUL in request.path_info:
        return not_found(request)
    if names := _parameters_with_nul(request.META.get("QUERY_STRING", "")):
        if names == ["cursor"]:
            return from_exception(request, BadRequest("invalid_cursor", "No cursor has a NUL in it."))
        errors = [FieldError(name, "invalid", "No parameter has a NUL in it.") for name in names]
        return from_exception(request, InvalidParameters(errors))
    texts = itertools.chain(request.COOKIES.keys(), request.COOKIES.values(), _form(request))
    try:
        if any(NUL in text for text in texts):
            return from_exception(request, BadRequest("invalid_request", "No text has a NUL in it."))
    except UnreadablePostError:
        # The client is gone.
        return from_exception(request, BadRequest("invalid_request", "The body broke off."))
    return None


def _parameters_with_nul(query: str) -> list[str]:
    if NUL not in query and "%00" not in query:
        return []
    return [name for name, values in QueryDict(query).lists() if any(NUL in text for text in (name, *values))]


def _form(request: HttpRequest) -> Iterator[str]:
    """Yield the names and values of a form that Django reads; the API's views have parsers of their own."""
    if request.method != "POST" or request.content_type not in FORMS or request.path_info.startswith(API_PREFIX):
        return
    # Cached, for a view that reads the raw body.
    _ = request.body
    for name, values in request.POST.lists():
        yield from (name, *values)
    # Django removes unprintable characters from a file's name, but not from its field's.
    yield from request.FILES


def _drop_disputed_scheme(request: HttpRequest) -> None:
    """Drop the proxy's scheme header unless every value in it is HTTPS.

    Django trusts the first of several values: the client's own, where a proxy adds a line instead of replacing it.
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
    """Return whether the Accept header can be parsed; DRF parses it later and handles no error."""
    try:
        return request.accepted_types is not None
    except ValueError:
        return False


def _content_length(request: HttpRequest) -> int:
    declared = request.META.get("CONTENT_LENGTH") or "0"
    return int(declared) if declared.isdecimal() else 0
