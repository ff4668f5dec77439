"""Passwords: whether one is good enough, and whether one that was checked is still the user's."""

from django.contrib.auth import password_validation
from django.core.exceptions import ValidationError

from apps.core.errors import InvalidField
from apps.users.errors import InvalidCredentials
from apps.users.models import User


def ensure_password_is_strong(password: str, *, user: User, field: str) -> None:
    """Raise InvalidField, named `field`, unless every configured password validator is content."""
    try:
        password_validation.validate_password(password, user)
    except ValidationError as error:
        raise InvalidField(field=field, field_code="weak_password", message=" ".join(error.messages)) from error


def locked_with_password(user: User, password: str) -> User:
    """Return the user's row, locked, once the password was found right; raises InvalidCredentials if it is so no more.

    Since then somebody may have changed it, deactivated the user or deleted it. Another hash may be a change or another
    login's rehash, so the password is checked again, but only then.
    """
    row = User.objects.select_for_update(no_key=True).filter(pk=user.pk, is_active=True).first()
    if row is None or (row.password != user.password and not row.check_password(password)):
        raise InvalidCredentials
    return row
