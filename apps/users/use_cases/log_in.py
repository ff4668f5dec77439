"""Log in with a user name and a password."""

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.contrib.auth import authenticate
from django.db import transaction

from apps.users.errors import InvalidCredentials
from apps.users.login_attempts import login_attempt
from apps.users.models import User, digest_of, new_key


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token with its key, which is returned only once."""

    key: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LogIn:
    """Exchange a user name and a password for a new token; the oldest ones beyond TOKENS_PER_USER are deleted.

    Raises: TooManyLoginFailures before anything is hashed; InvalidCredentials, with the same text and after the same work,
    for an unknown name, a wrong password and a deactivated user.
    Locks: the user's row, so that concurrent logins cannot exceed the number of tokens together, and no token outlives a
    deactivation or a change of the password.
    """

    username: str
    password: str
    address: str
    now: datetime

    def execute(self) -> IssuedToken:
        with login_attempt(username=self.username, address=self.address, channel="api") as attempt:
            user = authenticate(username=self.username, password=self.password)
            if not isinstance(user, User):
                raise InvalidCredentials
            attempt.password_matched(user)
            return self._issue(user)

    @transaction.atomic(durable=True)
    def _issue(self, user: User) -> IssuedToken:
        user.lock_with_password(self.password)
        key = new_key()
        expires_at = self.now + settings.TOKEN_LIFETIME
        user.tokens.create(digest=digest_of(key), created_at=self.now, expires_at=expires_at)
        newest = user.tokens.order_by("-created_at", "-id").values("id")[: settings.TOKENS_PER_USER]
        user.tokens.exclude(id__in=newest).delete()
        User.objects.filter(pk=user.pk).update(last_login=self.now)
        return IssuedToken(key=key, expires_at=expires_at)
