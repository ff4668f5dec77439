"""Change the caller's own password."""

from dataclasses import dataclass

from django.db import transaction

from apps.users.errors import InvalidCredentials
from apps.users.login_attempts import login_attempt
from apps.users.models import User
from apps.users.passwords import ensure_password_is_strong


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePassword:
    """Replace the password and end every session: all tokens of the user are deleted, the one in use too.

    Raises: TooManyLoginFailures and InvalidCredentials under the limits of logins, so that a stolen token can't be used to
    guess the password; InvalidField for a weak new password.
    Locks: the user's row.
    """

    user: User
    current_password: str
    new_password: str
    address: str

    def execute(self) -> None:
        with login_attempt(
            username=self.user.username,
            address=self.address,
            channel="api",
            action="password change",
            user_id=self.user.pk,
        ) as attempt:
            if not self.user.check_password(self.current_password):
                raise InvalidCredentials
            attempt.password_matched(self.user)
            ensure_password_is_strong(self.new_password, user=self.user, field="new_password")
            self._change()

    @transaction.atomic(durable=True)
    def _change(self) -> None:
        user = self.user.lock_with_password(self.current_password)
        user.set_password(self.new_password)
        # This deletes the tokens (migration users.0002).
        user.save(update_fields=["password"])
