"""What the bank may refuse, without a word of HTTP: `apps.core.problem` has the one table from kinds to statuses."""

from enum import Enum, auto
from typing import ClassVar


class ErrorKind(Enum):
    """How a client should take a refusal."""

    INVALID = auto()
    """What was sent is malformed; it can never succeed as it is."""
    NOT_FOUND = auto()
    """There is no such thing for this caller, whether or not it exists for another."""
    FORBIDDEN = auto()
    """The caller may see it but not do this."""
    REFUSED = auto()
    """Well said, but the rules or the present state say no; the answer is final for this request."""
    STALE = auto()
    """It was asked of a state that is not the present one; read again, then decide."""
    BUSY = auto()
    """Another request is in the way; the same request may succeed in a moment."""
    THROTTLED = auto()
    """Too many tries; wait for `retry_after_s`."""


class DomainError(Exception):
    """A named refusal: expected, explained to the client, and never an incident."""

    kind: ClassVar[ErrorKind]
    code: ClassVar[str]
    detail: str

    retry_after_s: int | None = None
    """Seconds to wait before the same request is worth sending again; None where it never is."""
    replayed = False
    """Whether this repeats the answer that an earlier request under the same idempotency key was given."""

    def __init__(self, detail: str | None = None) -> None:
        if detail is not None:
            self.detail = detail
        super().__init__(self.detail)

    @property
    def extensions(self) -> dict[str, str]:
        """Members that the problem document carries besides the standard ones."""
        return {}


class NotFound(DomainError):
    """No such object, or not the caller's: the two are indistinguishable on purpose."""

    kind = ErrorKind.NOT_FOUND
    code = "not_found"
    detail = "There is nothing here."


class PermissionDenied(DomainError):
    """The caller is known and may not do this."""

    kind = ErrorKind.FORBIDDEN
    code = "permission_denied"
    detail = "You may not do this."


class InvalidField(DomainError):
    """One field of the request is wrong in a way that only the rules below the parser could tell."""

    kind = ErrorKind.INVALID
    code = "invalid_request"
    detail = "Some fields are invalid."

    def __init__(self, *, field: str, field_code: str, message: str) -> None:
        super().__init__()
        self.field, self.field_code, self.message = field, field_code, message
