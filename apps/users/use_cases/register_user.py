"""Sign up a new user."""

from dataclasses import dataclass

from django.conf import settings
from django.db import IntegrityError, transaction

from apps.core.errors import InvalidField, PermissionDenied
from apps.users.models import User
from apps.users.passwords import ensure_password_is_strong


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterUser:
    """Create a user, who can log in at once.

    Raises: PermissionDenied if sign-up is closed; InvalidField for a taken name or a weak password.
    """

    username: str
    password: str
    email: str = ""

    def execute(self) -> User:
        if not settings.SIGN_UP_OPEN:
            detail = "Sign-up is closed."
            raise PermissionDenied(detail)
        user = User(username=self.username, email=self.email)
        ensure_password_is_strong(self.password, user=user, field="password")
        # Checked before the hash is computed; the constraint decides a race.
        if User.objects.filter(username=self.username).exists():
            raise self._taken()
        user.set_password(self.password)
        try:
            with transaction.atomic():
                user.save(force_insert=True)
        except IntegrityError as error:
            raise self._taken() from error
        return user

    def _taken(self) -> InvalidField:
        return InvalidField(field="username", field_code="unique", message="This user name is taken.")
