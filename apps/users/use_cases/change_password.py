"""A user's own change of password."""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from apps.users.audit_log import log_attempt
from apps.users.errors import InvalidCredentials
from apps.users.login_throttling import limited
from apps.users.models import User
from apps.users.passwords import ensure_password_is_strong, locked_with_password


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePassword:
    """Replace the password and end every session: all tokens of the user die, the one in use too.

    Refuses: TooManyLoginFailures and InvalidCredentials as a login does, so that a stolen token can't be used to guess
    the password; InvalidField for a weak new password.
    Locks: the user's row.
    """

    user: User
    current_password: str
    new_password: str
    address: str
    now: datetime

    def execute(self) -> None:
        with log_attempt("password change", channel="api", user_id=self.user.pk):
            self._change()

    def _change(self) -> None:
        with limited(username=self.user.username, address=self.address, now=self.now):
            if not self.user.check_password(self.current_password):
                raise InvalidCredentials
        ensure_password_is_strong(self.new_password, user=self.user, field="new_password")
        with transaction.atomic(durable=True):
            user = locked_with_password(self.user, self.current_password)
            user.set_password(self.new_password)
            # Which ends the tokens (migration users.0004).
            user.save(update_fields=["password"])
