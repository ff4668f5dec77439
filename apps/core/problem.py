"""Problem documents (RFC 9457): the one place where an exception becomes an HTTP response.

`STATUS_OF_KIND` maps the kinds of domain errors to statuses; `PROBLEM_TYPES` maps the exceptions of Django, of Django REST
Framework and of the database to problems. Any other exception is a bug and becomes 500. Views, middlewares and Django's
own error handlers all end here, so that a client gets one format for every failure.
"""

import itertools
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import SuspiciousOperation
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from rest_framework import exceptions, status

from apps.core.errors import DomainError, ErrorKind, FieldError, InvalidField, NotFound, PermissionDenied
from apps.core.middleware.request_id import current_request_id
from apps.core.middleware.request_log import log_fields, user_id_of
from apps.core.observability.redaction import safe_message

logger = logging.getLogger(__name__)

UNAVAILABLE_RETRY_AFTER_S = 5
MAX_ERRORS = 50
"""The most fields that a problem lists: a body with thousands of wrong fields does not get a response as large."""

STATUS_OF_KIND: Final = {
    ErrorKind.INVALID: HTTPStatus.BAD_REQUEST,
    ErrorKind.FORBIDDEN: HTTPStatus.FORBIDDEN,
    ErrorKind.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorKind.BUSY: HTTPStatus.CONFLICT,
    ErrorKind.REFUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorKind.STALE: HTTPStatus.PRECONDITION_FAILED,
    ErrorKind.THROTTLED: HTTPStatus.TOO_MANY_REQUESTS,
}


class ProblemType(NamedTuple):
    """The members of a problem document that are the same for each occurrence."""

    status: HTTPStatus
    code: str
    detail: str


INVALID_REQUEST: Final = ProblemType(HTTPStatus.BAD_REQUEST, InvalidField.code, InvalidField.detail)
BAD_REQUEST: Final = ProblemType(HTTPStatus.BAD_REQUEST, "invalid_request", "The request is not acceptable.")
# One detail for every reason: the token is absent, malformed, unknown, expired, revoked, or its user is deactivated.
NOT_AUTHENTICATED: Final = ProblemType(HTTPStatus.UNAUTHORIZED, "not_authenticated", "A valid token is required.")
PERMISSION_DENIED: Final = ProblemType(HTTPStatus.FORBIDDEN, PermissionDenied.code, PermissionDenied.detail)
NOT_FOUND: Final = ProblemType(HTTPStatus.NOT_FOUND, NotFound.code, NotFound.detail)
METHOD_NOT_ALLOWED: Final = ProblemType(
    HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", "This method is not allowed here."
)
NOT_ACCEPTABLE: Final = ProblemType(
    HTTPStatus.NOT_ACCEPTABLE, "not_acceptable", "The answer is JSON, which the Accept header does not admit."
)
UNSUPPORTED_MEDIA_TYPE: Final = ProblemType(
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "unsupported_media_type",
    "The body must be JSON in UTF-8 (application/json).",
)
THROTTLED: Final = ProblemType(HTTPStatus.TOO_MANY_REQUESTS, "throttled", "Too many requests.")
INTERNAL_ERROR: Final = ProblemType(
    HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "Something went wrong on our side; it has been recorded."
)
UNAVAILABLE: Final = ProblemType(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "unavailable",
    "The service is temporarily unavailable; the same request may be sent again.",
)

PROBLEM_TYPES: Final[Mapping[type[Exception], ProblemType]] = {
    SuspiciousOperation: BAD_REQUEST,
    exceptions.ParseError: BAD_REQUEST,
    exceptions.ValidationError: INVALID_REQUEST,
    exceptions.NotAuthenticated: NOT_AUTHENTICATED,
    exceptions.AuthenticationFailed: NOT_AUTHENTICATED,
    DjangoPermissionDenied: PERMISSION_DENIED,
    exceptions.PermissionDenied: PERMISSION_DENIED,
    Http404: NOT_FOUND,
    exceptions.NotFound: NOT_FOUND,
    exceptions.MethodNotAllowed: METHOD_NOT_ALLOWED,
    exceptions.NotAcceptable: NOT_ACCEPTABLE,
    exceptions.UnsupportedMediaType: UNSUPPORTED_MEDIA_TYPE,
    exceptions.Throttled: THROTTLED,
    # PostgreSQL lacks a server, a connection or time; every other DatabaseError is a bug of ours.
    OperationalError: UNAVAILABLE,
    InterfaceError: UNAVAILABLE,
}


class BadRequest(exceptions.APIException):
    """A 400 with a code of its own: the request cannot be read as the type that it declares."""

    status_code = status.HTTP_400_BAD_REQUEST

    def __init__(self, code: str, detail: str, errors: Iterable[FieldError] = ()) -> None:
        super().__init__(detail, code)
        self.problem_type = ProblemType(HTTPStatus.BAD_REQUEST, code, detail)
        self.errors = list(errors)


class InvalidParameters(BadRequest):
    """Some query parameters are unknown, repeated or malformed."""

    def __init__(self, errors: Iterable[FieldError]) -> None:
        super().__init__("invalid_parameter", "Some query parameters are invalid.", errors)


class ProblemResponse(JsonResponse):
    """A response of `application/problem+json` with the members of the API's contract."""

    def __init__(  # noqa: PLR0913  a problem has this many members
        self,
        request: HttpRequest,
        *,
        status: int,
        code: str,
        detail: str,
        errors: Iterable[FieldError] = (),
        extensions: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        document: dict[str, Any] = {
            "type": f"urn:problem:{code}",
            "title": code.replace("_", " ").capitalize(),
            "status": int(status),
            "detail": detail,
            "code": code,
            "instance": request.path,
            "request_id": current_request_id(),
        }
        if listed := [error._asdict() for error in itertools.islice(errors, MAX_ERRORS)]:
            document["errors"] = listed
        document.update(extensions or {})
        super().__init__(document, status=int(status), content_type="application/problem+json", headers=headers)


def exception_handler(exc: Exception, context: Mapping[str, Any]) -> HttpResponseBase:
    """Return the problem for an exception of a view; DRF's `EXCEPTION_HANDLER`."""
    return from_exception(context["request"], exc)


def from_exception(request: HttpRequest, exc: Exception) -> ProblemResponse:
    """Return the problem for an exception; a refused permission, an outage and a bug are logged."""
    match exc:
        case DomainError():
            problem_type = ProblemType(STATUS_OF_KIND[exc.kind], exc.code, exc.detail)
            return _response(request, problem_type, exc, errors=exc.field_errors, extensions=exc.extensions)
        case BadRequest():
            return _response(request, exc.problem_type, exc, errors=exc.errors)
        case exceptions.ValidationError():
            return _response(request, INVALID_REQUEST, exc, errors=field_errors(exc.get_full_details()))
        case _:
            problem_type = _problem_type(exc)
            if problem_type is INTERNAL_ERROR:
                got_request_exception.send(sender=None, request=request)
            return _response(request, problem_type, exc)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> ProblemResponse:
    """Return 400; Django's `handler400`."""
    return _response(request, BAD_REQUEST)


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> ProblemResponse:
    """Return 403; Django's `handler403`."""
    return _response(request, PERMISSION_DENIED)


def not_found(request: HttpRequest, exception: Exception | None = None) -> ProblemResponse:
    """Return 404; Django's `handler404`. An unknown URL, a missing object and another user's get the same body."""
    return _response(request, NOT_FOUND)


def server_error(request: HttpRequest) -> ProblemResponse:
    """Return 503 or 500 for an exception outside the API's views (the admin, sessions); Django's `handler500`."""
    error = sys.exception()
    is_outage = isinstance(error, OperationalError | InterfaceError)
    return _response(request, UNAVAILABLE if is_outage else INTERNAL_ERROR, error)


def field_errors(details: Any, path: str = "") -> Iterator[FieldError]:
    """Flatten DRF's nested error details; `non_field_errors` keeps the path of its parent."""
    if isinstance(details, dict) and {"message", "code"} == details.keys():
        yield FieldError(path or "non_field_errors", details["code"], str(details["message"]))
    elif isinstance(details, dict):
        for name, inner in details.items():
            yield from field_errors(inner, f"{path}.{name}" if path else str(name))
    else:
        for inner in details:
            yield from field_errors(inner, path)


def _problem_type(exc: Exception) -> ProblemType:
    """Return the row of `PROBLEM_TYPES` for the nearest class of the exception, as `except` would find it."""
    return next((PROBLEM_TYPES[each] for each in type(exc).__mro__ if each in PROBLEM_TYPES), INTERNAL_ERROR)


def _response(
    request: HttpRequest,
    problem_type: ProblemType,
    exc: BaseException | None = None,
    *,
    errors: Iterable[FieldError] = (),
    extensions: Mapping[str, str] | None = None,
) -> ProblemResponse:
    _log(request, problem_type, exc)
    return ProblemResponse(
        request,
        **problem_type._asdict(),
        errors=errors,
        extensions=extensions,
        headers=dict(_headers(problem_type, exc)),
    )


def _headers(problem_type: ProblemType, exc: BaseException | None) -> Iterator[tuple[str, str]]:
    # DRF sets it on the errors of an authenticator that names its scheme.
    if challenge := getattr(exc, "auth_header", None):
        yield "WWW-Authenticate", challenge
    if isinstance(exc, DomainError) and exc.replayed:
        yield "Idempotent-Replayed", "true"
    retry_after_s = exc.retry_after_s if isinstance(exc, DomainError) else None
    if isinstance(exc, exceptions.Throttled):
        retry_after_s = max(1, getattr(exc, "wait", None) or 1)
    elif problem_type is UNAVAILABLE:
        retry_after_s = UNAVAILABLE_RETRY_AFTER_S
    if retry_after_s is not None:
        yield "Retry-After", str(retry_after_s)


def _log(request: HttpRequest, problem_type: ProblemType, exc: BaseException | None) -> None:
    """Log what operators need beside the request's own line. Another user's object is a 404, so that line has it."""
    extra = log_fields(request)
    if problem_type.status == HTTPStatus.FORBIDDEN:
        logger.warning("permission denied", extra=extra | {"user_id": user_id_of(request)})
    elif problem_type is UNAVAILABLE:
        error = (exc and exc.__cause__) or exc
        reason = (error and safe_message(error)) or type(error).__name__
        logger.error("The database did not answer: %s", reason, extra=extra)
    elif problem_type is INTERNAL_ERROR:
        logger.error("Unhandled exception", exc_info=exc or True, extra=extra)
