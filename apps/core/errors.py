"""Domain errors: refusals with a kind and a code, and no HTTP status; `apps.core.problem` maps kinds to statuses."""

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import ClassVar, NamedTuple


class ErrorKind(Enum):
    """The kind of a refusal: whether, and when, the same request may succeed."""

    INVALID = auto()
    """The request is malformed; it can never succeed."""
    NOT_FOUND = auto()
    """The object does not exist for this caller, whether or not it exists for another."""
    FORBIDDEN = auto()
    """The caller may see the object but not do this."""
    REFUSED = auto()
    """The request is well-formed, but a rule or the present state refuses it; that is final for this request."""
    STALE = auto()
    """The request names a state that is no longer the present one; read again, then decide."""
    BUSY = auto()
    """Another request holds what this one needs; the same request may succeed in a moment."""
    THROTTLED = auto()
    """Too many requests; wait for `retry_after_s`."""


class FieldError(NamedTuple):
    """One entry of a problem's `errors`; `field` is a path such as `amount`."""

    field: str
    code: str
    detail: str


class DomainError(Exception):
    """A refusal that the API documents: the client gets its code and detail, and nothing is reported to Sentry."""

    kind: ClassVar[ErrorKind]
    code: ClassVar[str]
    detail: str

    extension_schema: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    """OpenAPI schemas of the members that `extensions` may have."""
    field_errors: Sequence[FieldError] = ()
    """The fields of the request that are wrong."""
    retry_after_s: int | None = None
    """Seconds to wait before sending the same request again; None if that cannot succeed."""
    replayed = False
    """Whether this repeats the response to an earlier request under the same idempotency key."""

    def __init__(self, detail: str | None = None) -> None:
        if detail is not None:
            self.detail = detail
        super().__init__(self.detail)

    @property
    def extensions(self) -> dict[str, str]:
        """Members of the problem document besides the standard ones (RFC 9457 §3.2)."""
        return {}


class NotFound(DomainError):
    """The object does not exist, or belongs to another user; a client cannot distinguish the two."""

    kind = ErrorKind.NOT_FOUND
    code = "not_found"
    detail = "There is nothing here."


class PermissionDenied(DomainError):
    """The caller is authenticated and lacks the permission."""

    kind = ErrorKind.FORBIDDEN
    code = "permission_denied"
    detail = "You may not do this."


class InvalidField(DomainError):
    """One field of the request is invalid by a rule that its serializer cannot check."""

    kind = ErrorKind.INVALID
    code = "invalid_request"
    detail = "Some fields are invalid."

    def __init__(self, *, field: str, field_code: str, message: str) -> None:
        super().__init__()
        self.field_errors = [FieldError(field, field_code, message)]
