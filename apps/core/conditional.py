"""Conditional requests (RFC 9110 §13) by entity tag: `ETag`, `If-None-Match` and `If-Match`.

An entity tag is a digest of the representation, so it changes with any of its members. `If-Modified-Since` and
`If-Unmodified-Since` are ignored, as §13.1.3 and §13.1.4 require for a resource without a date. Django's
`get_conditional_response` refuses the second one, and ignores an `If-Match` that it cannot parse; here such a header matches
nothing, as a lost update is worse than a refusal.

A view checks the conditions last (§13.2.1), when the request would succeed without them: for a change inside the transaction
that holds the row's lock, so that the version compared is the version changed.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from apps.core.errors import DomainError, ErrorKind

M = TypeVar("M")

_MEMBER: Final = re.compile(r'\*|(?:W/)?"[^"]*"')


class PreconditionFailed(DomainError):
    """If-Match or If-None-Match does not hold for the present representation."""

    kind = ErrorKind.STALE
    code = "precondition_failed"
    detail = "What this request was made for has changed since; read it again."


def entity_tag(representation: Mapping[str, Any]) -> str:
    """Return a strong entity tag for a representation."""
    return f'"{hashlib.sha256(JSONRenderer().render(representation)).hexdigest()[:32]}"'


def check_preconditions(request: Request, etag: str) -> bool:
    """Return whether the client has this representation already (RFC 9110 §13.2.2).

    If-Match uses strong comparison, so a weak tag never matches; If-None-Match uses weak comparison.

    Raises: PreconditionFailed.
    """
    if_match, if_none_match = (request.headers.get(name) for name in ("If-Match", "If-None-Match"))
    if if_match is not None and not _contains(if_match, etag):
        raise PreconditionFailed
    is_known = if_none_match is not None and _contains(if_none_match, etag, f"W/{etag}")
    if is_known and request.method not in {"GET", "HEAD"}:
        raise PreconditionFailed
    return is_known


def conditional_response(request: Request, representation: Mapping[str, Any]) -> Response:
    """Return the response to a GET: the representation with its tag, or 304. Raises: PreconditionFailed."""
    etag = entity_tag(representation)
    if check_preconditions(request, etag):
        return Response(status=304, headers={"ETag": etag})
    return Response(representation, headers={"ETag": etag})


def tagged_response(
    representation: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the response to a change: the representation with its tag."""
    return Response(representation, status=status, headers={"ETag": entity_tag(representation), **(headers or {})})


def precondition(request: Request, output: type[Serializer[M]]) -> Callable[[M], object]:
    """Return a function that holds a row's representation to the request's conditions: a use case calls it under the lock.

    Raises: PreconditionFailed, from that function.
    """
    return lambda row: check_preconditions(request, entity_tag(output(row).data))


def _contains(header: str, *etags: str) -> bool:
    return not {"*", *etags}.isdisjoint(_MEMBER.findall(header))
