"""Models of users, their tokens, and the counts of failed logins.

A token's key is returned once, at login; the database stores its SHA-256. A plain digest is enough for 256 random bits,
which cannot be guessed from it, so a stolen dump contains no usable token.
"""

import hashlib
import secrets
from datetime import datetime
from typing import ClassVar, Self

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import hashers
from django.contrib.auth.models import AbstractUser
from django.db import connections, models, router, transaction
from uuid_utils.compat import uuid7

from apps.core.observability.redaction import TOKEN_PREFIX
from apps.users.errors import InvalidCredentials


class User(AbstractUser):
    """A user who can log in. A custom model from the first migration, because it can't be swapped in later."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)

    def check_password(self, raw_password: str | None) -> bool:
        """Check a password as Django does; rehash one that is right and was hashed at a lower cost.

        Django's own rehash would count as a change of the password, which ends the user's tokens, and would overwrite a
        change made meanwhile.
        """
        return hashers.check_password(raw_password, self.password, self._rehash)

    async def acheck_password(self, raw_password: str | None) -> bool:
        """Check a password in an event loop."""
        return await sync_to_async(self.check_password)(raw_password)

    def lock_with_password(self, password: str) -> Self:
        """Return this user's row, locked, after the password was checked against this instance.

        Since that check the password may have been changed, or the user deactivated or deleted. A different hash is such a
        change or another login's rehash, so only then the password is checked again.

        Raises: InvalidCredentials if the password is no longer right.
        Locks: the user's row, until the transaction ends.
        """
        try:
            row = type(self).objects.select_for_update(no_key=True).get(pk=self.pk, is_active=True)
        except User.DoesNotExist:
            raise InvalidCredentials from None
        if row.password != self.password and not row.check_password(password):
            raise InvalidCredentials
        return row

    def _rehash(self, raw_password: str) -> None:
        rehashed = hashers.make_password(raw_password)
        using = router.db_for_write(User, instance=self)
        with transaction.atomic(using=using), connections[using].cursor() as cursor:
            # The trigger lets this hash pass, in this transaction (migration users.0002).
            cursor.execute("SELECT set_config('users.rehashed_password', %s, true)", [rehashed])
            if User.objects.using(using).filter(pk=self.pk, password=self.password).update(password=rehashed):
                self.password = rehashed


class TokenQuerySet(models.QuerySet["Token"]):
    """Queries of tokens."""

    def live(self, now: datetime) -> Self:
        """Return tokens that authenticate: not expired, of an active user. A change of the password deletes them."""
        return self.filter(expires_at__gt=now, user__is_active=True)

    def with_key(self, key: str) -> Self:
        """Return the token with this key."""
        return self.filter(digest=digest_of(key))


class Token(models.Model):
    """A bearer token of one login, valid until `expires_at`; revoking it or changing the password deletes it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="tokens")
    digest = models.BinaryField(max_length=32, unique=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)

    objects = TokenQuerySet.as_manager()

    def __str__(self) -> str:
        return f"token {self.pk} of {self.user_id}"


class LoginFailures(models.Model):
    """Number of wrong passwords of one user name, one address or one pair of them in the current window.

    `count` includes the attempts in flight, which may still turn out right; `reserved` is their number.
    """

    scope = models.CharField(max_length=64, primary_key=True)
    count = models.PositiveIntegerField()
    reserved = models.PositiveIntegerField(default=0)
    window_ends_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(count__gte=0), name="login_failures_are_never_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.count} until {self.window_ends_at}"


def new_key() -> str:
    """Return a new token key: a prefix and 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def digest_of(key: str) -> bytes:
    """Return the SHA-256 of a token key, as the database stores it."""
    return hashlib.sha256(key.encode()).digest()
