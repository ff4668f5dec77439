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
from collections.abc import Mapping
from typing import Any, Final

from drf_spectacular.utils import OpenApiParameter
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.errors import DomainError, ErrorKind

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


def _contains(header: str, *etags: str) -> bool:
    return not {"*", *etags}.isdisjoint(_MEMBER.findall(header))


# --- In the OpenAPI schema -------------------------------------------------------------------------------------------

ETAG: Final = OpenApiParameter(
    "ETag",
    str,
    OpenApiParameter.HEADER,
    response=[200, 201, 304],
    description="A strong validator of what is shown; it changes with any of it.",
)
IF_MATCH: Final = OpenApiParameter(
    "If-Match",
    str,
    OpenApiParameter.HEADER,
    description="Entity tags, or `*`; where none is the present one, 412.",
)
IF_NONE_MATCH: Final = OpenApiParameter(
    "If-None-Match",
    str,
    OpenApiParameter.HEADER,
    description="Entity tags, or `*`; where one is the present one, 304.",
)
