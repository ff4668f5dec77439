"""OpenAPI descriptions of the headers that operations share: idempotency keys, conditional requests, Location."""

from typing import Final

from drf_spectacular.utils import OpenApiParameter

from apps.core import min_version
from apps.core.idempotency import CHARACTERS, HEADER, MAX_LENGTH

LOCATION: Final = OpenApiParameter(
    "Location", str, OpenApiParameter.HEADER, response=[201], description="URL of the new resource."
)
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
MIN_VERSION: Final = OpenApiParameter(
    min_version.HEADER,
    {"type": "integer", "format": "int64", "minimum": 0, "maximum": min_version.LARGEST},
    OpenApiParameter.HEADER,
    description="The version that the client has seen; the answer is at least that new, wherever it is read.",
)


def key_parameter(*, required: bool) -> OpenApiParameter:
    """Return the header's description for an operation that takes a key."""
    return OpenApiParameter(
        HEADER,
        {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH, "pattern": f"^{CHARACTERS}+$"},
        OpenApiParameter.HEADER,
        required=required,
        description="The client's name for this one operation; the same key and body again get the same answer.",
    )


def replayed_header(*statuses: int) -> OpenApiParameter:
    """Return the description of `Idempotent-Replayed` for an operation that replays answers of these statuses."""
    return OpenApiParameter(
        "Idempotent-Replayed",
        {"type": "string", "enum": ["true"]},
        OpenApiParameter.HEADER,
        response=list(statuses),
        description="Present when this repeats an earlier answer.",
    )
