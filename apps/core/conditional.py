"""Conditional requests (RFC 9110 §13) by entity tag: `ETag`, `If-None-Match` and `If-Match`.

A tag is a digest of what is shown, so it changes with whatever is. `If-Modified-Since` and `If-Unmodified-Since` are ignored
as §13.1.3 and §13.1.4 ask for a resource without a date; Django's `get_conditional_response` refuses the second, and passes
by an `If-Match` that it cannot read, which here matches nothing: a lost update is worse than a refusal.

A view checks the conditions last (§13.2.1), where the request would succeed without them: a change in the transaction that
has the row's lock, so that what was compared is what is changed.
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
    """The client's If-Match or If-None-Match is not true of what is there now."""

    kind = ErrorKind.STALE
    code = "precondition_failed"
    detail = "What this request was made for has changed since; read it again."


def entity_tag(shown: Mapping[str, Any]) -> str:
    """Return a strong validator for a representation."""
    return f'"{hashlib.sha256(JSONRenderer().render(shown)).hexdigest()[:32]}"'


def check_preconditions(request: Request, etag: str) -> bool:
    """Tell whether the client has this representation already; raises PreconditionFailed (RFC 9110 §13.2.2).

    If-Match compares strongly, so that a weak tag never matches; If-None-Match compares weakly.
    """
    if_match, if_none_match = (request.headers.get(name) for name in ("If-Match", "If-None-Match"))
    if if_match is not None and not _lists(if_match, etag):
        raise PreconditionFailed
    is_known = if_none_match is not None and _lists(if_none_match, etag, f"W/{etag}")
    if is_known and request.method not in {"GET", "HEAD"}:
        raise PreconditionFailed
    return is_known


def conditional_response(request: Request, shown: Mapping[str, Any]) -> Response:
    """Answer a GET with the representation and its tag, or with 304; raises PreconditionFailed."""
    etag = entity_tag(shown)
    if check_preconditions(request, etag):
        return Response(status=304, headers={"ETag": etag})
    return Response(shown, headers={"ETag": etag})


def _lists(header: str, *etags: str) -> bool:
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
