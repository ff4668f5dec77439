"""Passwords: the one form in which they are hashed, how strong one must be, and whether it still is the user's."""

from collections.abc import Sequence
from typing import Any, Final

from django.contrib.auth import password_validation
from django.core.exceptions import PermissionDenied, ValidationError

from apps.core.errors import InvalidField
from apps.core.text import plain_text
from apps.users.models import User

MAX_LENGTH: Final = 128


class PasswordRefused(ValidationError, PermissionDenied):
    """No password at all: forms and commands show it, and `authenticate` takes it for a backend's refusal."""


def canonical(password: str) -> str:
    """Return a password as it is hashed: in Unicode's composed form (NFC), in which no keyboard differs from another.

    Raises PasswordRefused for control characters, for more than 128 characters, and for nothing but spaces.
    """
    try:
        text = plain_text(password)
    except ValueError:
        message = "A password has no control characters."
        raise PasswordRefused(message, code="password_control_characters") from None
    if len(text) > MAX_LENGTH:
        message = f"A password has at most {MAX_LENGTH} characters."
        raise PasswordRefused(message, code="password_too_long")
    if not text.strip():
        message = "A password has other characters than spaces."
        raise PasswordRefused(message, code="password_blank")
    return text


class CanonicalPasswordValidator:
    """Asks other validators about a password's canonical form, in which it may be shorter or more common than typed."""

    def __init__(self, validators: Sequence[dict[str, Any]]) -> None:
        self.validators = password_validation.get_password_validators(validators)

    def validate(self, password: str, user: User | None = None) -> None:
        password_validation.validate_password(canonical(password), user, self.validators)

    def password_changed(self, password: str, user: User | None = None) -> None:
        password_validation.password_changed(canonical(password), user, self.validators)

    def get_help_text(self) -> str:
        return " ".join(password_validation.password_validators_help_texts(self.validators))


def ensure_password_is_strong(password: str, *, user: User, field: str) -> None:
    """Raise InvalidField, named `field`, unless every configured password validator is content."""
    try:
        password_validation.validate_password(password, user)
    except ValidationError as error:
        raise InvalidField(field=field, field_code="weak_password", message=" ".join(error.messages)) from error
