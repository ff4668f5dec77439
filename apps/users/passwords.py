"""What makes a password good enough."""

from django.contrib.auth import password_validation
from django.core.exceptions import ValidationError

from apps.core.errors import InvalidField
from apps.users.models import User


def ensure_password_is_strong(password: str, *, user: User, field: str) -> None:
    """Raise InvalidField, named `field`, unless every configured password validator is content."""
    try:
        password_validation.validate_password(password, user)
    except ValidationError as error:
        raise InvalidField(field=field, field_code="weak_password", message=" ".join(error.messages)) from error
