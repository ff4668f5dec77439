"""The one place where an exception becomes HTTP: RFC 9457 problem documents, whatever went wrong and wherever.

Domain errors carry a kind; `STATUS_OF_KIND` is the only table from kinds to statuses. DRF's own errors, the database's
and anything unforeseen leave through the same door, so a client sees one shape.
"""

import itertools
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import SuspiciousOperation
from django.core.signals import got_request_exception
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from rest_framework import exceptions, status

from apps.core.errors import DomainError, ErrorKind, InvalidField
from apps.core.middleware.request_id import current_request_id
from apps.core.middleware.request_log import log_fields, user_id_of
from apps.core.observability.redaction import safe_message

logger = logging.getLogger(__name__)

STATUS_OF_KIND = {
    ErrorKind.INVALID: HTTPStatus.BAD_REQUEST,
    ErrorKind.FORBIDDEN: HTTPStatus.FORBIDDEN,
    ErrorKind.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorKind.BUSY: HTTPStatus.CONFLICT,
    ErrorKind.REFUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorKind.STALE: HTTPStatus.PRECONDITION_FAILED,
    ErrorKind.THROTTLED: HTTPStatus.TOO_MANY_REQUESTS,
}

# What PostgreSQL refuses for want of a server, a connection or time; the rest of DatabaseError is our bug.
OUT_OF_ORDER = (OperationalError, InterfaceError)
UNAVAILABLE_RETRY_AFTER_S = 5
MAX_ERRORS = 50
"""How many fields a problem names: the answer to a body of thousands is not itself a flood."""


class FieldError(NamedTuple):
    """One entry of a validation problem's `errors`; `field` is a path such as `amount`."""

    field: str
    code: str
    detail: str


class BadRequest(exceptions.APIException):
    """A 400 with a code of its own: the request could not be read as what it claims to be."""

    status_code = status.HTTP_400_BAD_REQUEST

    def __init__(self, code: str, detail: str, errors: Iterable[FieldError] = ()) -> None:
        super().__init__(detail, code)
        self.errors = list(errors)


class InvalidParameters(BadRequest):
    """Some query parameters are unknown, repeated or malformed."""

    def __init__(self, errors: Iterable[FieldError]) -> None:
        super().__init__("invalid_parameter", "Some query parameters are invalid.", errors)


class ProblemResponse(JsonResponse):
    """`application/problem+json` with the members that the API's contract promises."""

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
    """Turn whatever a view raised into a problem; DRF's `EXCEPTION_HANDLER`."""
    return from_exception(context["request"], exc)


def from_exception(request: HttpRequest, exc: Exception) -> ProblemResponse:  # noqa: PLR0911  one for each family of errors
    """Return the problem that tells a client about `exc`, logging it if it is our fault."""
    match exc:
        case DomainError():
            return _from_domain_error(request, exc)
        case Http404():
            return not_found(request)
        case DjangoPermissionDenied():
            return permission_denied(request)
        case SuspiciousOperation() | exceptions.ParseError():
            return bad_request(request)
        case exceptions.APIException():
            return _from_api_exception(request, exc)
        case _ if isinstance(exc, OUT_OF_ORDER):
            return unavailable(request, exc)
        case _:
            got_request_exception.send(sender=None, request=request)
            return internal_error(request, exc)


def _from_domain_error(request: HttpRequest, error: DomainError) -> ProblemResponse:
    if error.kind is ErrorKind.FORBIDDEN:
        _log_permission_denied(request)
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if error.replayed:
        headers["Idempotent-Replayed"] = "true"
    errors = [FieldError(error.field, error.field_code, error.message)] if isinstance(error, InvalidField) else []
    return ProblemResponse(
        request,
        status=STATUS_OF_KIND[error.kind],
        code=error.code,
        detail=error.detail,
        errors=errors,
        extensions=error.extensions,
        headers=headers,
    )


def _from_api_exception(request: HttpRequest, exc: exceptions.APIException) -> ProblemResponse:
    headers = {}
    if challenge := getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    match exc:
        case exceptions.ValidationError():
            return invalid_request(request, field_errors(exc.get_full_details()))
        case BadRequest():
            code, detail = exc.get_codes(), str(exc.detail)
            return ProblemResponse(request, status=exc.status_code, code=str(code), detail=detail, errors=exc.errors)
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            # One text for every reason: absent, malformed, unknown, expired, revoked, deactivated.
            code, detail = "not_authenticated", "A valid token is required."
        case exceptions.PermissionDenied():
            return permission_denied(request)
        case exceptions.NotFound():
            return not_found(request)
        case exceptions.MethodNotAllowed():
            code, detail = "method_not_allowed", "This method is not allowed here."
        case exceptions.NotAcceptable():
            code, detail = "not_acceptable", "The answer is JSON, which the Accept header does not admit."
        case exceptions.UnsupportedMediaType():
            code, detail = "unsupported_media_type", "The body must be JSON in UTF-8 (application/json)."
        case exceptions.Throttled():
            code, detail = "throttled", "Too many requests."
            headers["Retry-After"] = str(max(1, round(getattr(exc, "wait", None) or 1)))
        case _:
            got_request_exception.send(sender=None, request=request)
            return internal_error(request, exc)
    return ProblemResponse(request, status=exc.status_code, code=code, detail=detail, headers=headers)


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


def invalid_request(request: HttpRequest, errors: Iterable[FieldError]) -> ProblemResponse:
    """Return 400 with the fields that are wrong."""
    detail = InvalidField.detail
    return ProblemResponse(request, status=400, code="invalid_request", detail=detail, errors=errors)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> ProblemResponse:
    """Return 400 for what Django itself calls suspicious."""
    return ProblemResponse(request, status=400, code="invalid_request", detail="The request is not acceptable.")


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> ProblemResponse:
    """Return 403."""
    _log_permission_denied(request)
    return ProblemResponse(request, status=403, code="permission_denied", detail="You may not do this.")


def _log_permission_denied(request: HttpRequest) -> None:
    """Say that somebody asked for what he may not do; another's object is a 404, which the request's line tells."""
    logger.warning("permission denied", extra=log_fields(request) | {"user_id": user_id_of(request)})


def not_found(request: HttpRequest, exception: Exception | None = None) -> ProblemResponse:
    """Return 404: the same body for an unknown URL, a missing object and another user's."""
    return ProblemResponse(request, status=404, code="not_found", detail="There is nothing here.")


def unavailable(request: HttpRequest, exc: DatabaseError | InterfaceError) -> ProblemResponse:
    """Return 503: nothing was decided, or the decision is safe under its idempotency key; try again."""
    error = exc.__cause__ or exc
    logger.error(
        "The database did not answer: %s", safe_message(error) or type(error).__name__, extra=log_fields(request)
    )
    return ProblemResponse(
        request,
        status=503,
        code="unavailable",
        detail="The service is temporarily unavailable; the same request may be sent again.",
        headers={"Retry-After": str(UNAVAILABLE_RETRY_AFTER_S)},
    )


def server_error(request: HttpRequest) -> ProblemResponse:
    """Return 503 or 500 for what was raised past every view of ours (the admin, sessions); Django's `handler500`."""
    error = sys.exception()
    return unavailable(request, error) if isinstance(error, OUT_OF_ORDER) else internal_error(request)


def internal_error(request: HttpRequest, exc: Exception | None = None) -> ProblemResponse:
    """Return 500, log the cause once and tell the client nothing but the request's id."""
    logger.error("Unhandled exception", exc_info=exc or True, extra=log_fields(request))
    return ProblemResponse(
        request, status=500, code="internal_error", detail="Something went wrong on our side; it has been recorded."
    )
