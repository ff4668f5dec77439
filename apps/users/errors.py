"""Domain errors of users."""

from apps.core.errors import DomainError, ErrorKind


class InvalidCredentials(DomainError):
    """Wrong credentials: one error for an unknown name, a wrong password and a deactivated user."""

    kind = ErrorKind.INVALID
    code = "invalid_credentials"
    detail = "The credentials are invalid."


class TooManyLoginFailures(DomainError):
    """Too many wrong passwords for this name or from this address; the password was not checked."""

    kind = ErrorKind.THROTTLED
    code = "throttled"
    detail = "Too many failed attempts; try again later."

    def __init__(self, *, retry_after_s: int) -> None:
        super().__init__()
        self.retry_after_s = retry_after_s
