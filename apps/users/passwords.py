"""Password rules: the canonical form that is hashed, the length, and the strength."""

from collections.abc import Sequence
from typing import Any, Final

from django.contrib.auth import password_validation
from django.core.exceptions import PermissionDenied, ValidationError

from apps.core.errors import InvalidField
from apps.core.text import plain_text
from apps.users.models import User

MAX_PASSWORD_LENGTH: Final = 128


class PasswordRefused(ValidationError, PermissionDenied):
    """A password that no user can have. Forms and commands display it; `authenticate` treats it as a backend's refusal."""


def canonicalize(password: str) -> str:
    """Return a password as it is hashed: in Unicode's composed form (NFC), the same for every keyboard.

    Raises: PasswordRefused for control characters, for more than 128 characters, and for spaces only.
    """
    try:
        text = plain_text(password)
    except ValueError:
        message = "A password must not contain control characters."
        raise PasswordRefused(message, code="password_control_characters") from None
    if len(text) > MAX_PASSWORD_LENGTH:
        message = f"A password must have at most {MAX_PASSWORD_LENGTH} characters."
        raise PasswordRefused(message, code="password_too_long")
    if not text.strip():
        message = "A password must not consist of spaces only."
        raise PasswordRefused(message, code="password_blank")
    return text


class CanonicalPasswordValidator:
    """Runs other validators on the canonical form, which may be shorter or more common than the typed password."""

    def __init__(self, validators: Sequence[dict[str, Any]]) -> None:
        self.validators = password_validation.get_password_validators(validators)

    def validate(self, password: str, user: User | None = None) -> None:
        password_validation.validate_password(canonicalize(password), user, self.validators)

    def password_changed(self, password: str, user: User | None = None) -> None:
        password_validation.password_changed(canonicalize(password), user, self.validators)

    def get_help_text(self) -> str:
        return " ".join(password_validation.password_validators_help_texts(self.validators))


def ensure_password_is_strong(password: str, *, user: User, field: str) -> None:
    """Raise InvalidField for `field` unless the password passes every configured validator."""
    try:
        password_validation.validate_password(password, user)
    except ValidationError as error:
        raise InvalidField(field=field, field_code="weak_password", message=" ".join(error.messages)) from error
