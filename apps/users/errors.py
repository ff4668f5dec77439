"""Every refusal of this app."""

from apps.core.errors import DomainError, ErrorKind


class InvalidCredentials(DomainError):
    """The password does not fit: one answer for an unknown name, a wrong password and a deactivated user."""

    kind = ErrorKind.INVALID
    code = "invalid_credentials"
    detail = "The credentials do not fit."


class TooManyLoginFailures(DomainError):
    """Too many wrong passwords for this name or from this address; nothing was checked."""

    kind = ErrorKind.THROTTLED
    code = "throttled"
    detail = "Too many failed attempts; try again later."

    def __init__(self, *, retry_after_s: int) -> None:
        super().__init__()
        self.retry_after_s = retry_after_s
