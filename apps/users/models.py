"""Who is asking: users, their tokens, and the count of wrong passwords.

A token is shown once, at login; the database keeps its SHA-256. That is enough for 256 random bits, which nobody can
guess from a digest, and a stolen dump opens nothing.
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

from apps.users.errors import InvalidCredentials

TOKEN_PREFIX = "bank_"  # noqa: S105  lets secret scanners recognise a leaked token


class User(AbstractUser):
    """Somebody who can log in; custom from the first migration, because it can't be swapped in later."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)

    def check_password(self, raw_password: str | None) -> bool:
        """Check a password, as Django does; one that is right and was hashed at a lower cost is hashed anew.

        Django would save the new hash as if it were a change, which ends the user's tokens, and over a change that somebody
        has made meanwhile.
        """
        return hashers.check_password(raw_password, self.password, self._rehash)

    async def acheck_password(self, raw_password: str | None) -> bool:
        """Check a password in an event loop."""
        return await sync_to_async(self.check_password)(raw_password)

    def lock_with_password(self, password: str) -> Self:
        """Return this user's row, locked, after the password was found right.

        Meanwhile somebody may have changed it, deactivated the user or deleted it. Another hash may be such a change or
        another login's rehash, so the password is checked again, but only then.

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
            # What the trigger lets pass (migration users.0002): this hash, in this transaction.
            cursor.execute("SELECT set_config('users.rehashed_password', %s, true)", [rehashed])
            if User.objects.using(using).filter(pk=self.pk, password=self.password).update(password=rehashed):
                self.password = rehashed


class TokenQuerySet(models.QuerySet["Token"]):
    """Tokens by what they are still good for."""

    def live(self, now: datetime) -> Self:
        """Tokens that open the API: not expired, of an active user; a change of the password has deleted them."""
        return self.filter(expires_at__gt=now, user__is_active=True)

    def with_key(self, key: str) -> Self:
        """The token whose key was shown as `key`."""
        return self.filter(digest=digest_of(key))


class Token(models.Model):
    """One login: a bearer key that dies at `expires_at`, when revoked, or with the password."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="tokens")
    digest = models.BinaryField(max_length=32, unique=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)

    objects = TokenQuerySet.as_manager()

    def __str__(self) -> str:
        return f"token {self.pk} of {self.user_id}"


class LoginFailures(models.Model):
    """How many wrong passwords one user name, one address or one pair of them sent in the current window.

    `count` has the attempts in flight in it, which may still turn out right; `reserved` is how many those are.
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
    """Return a fresh token key: a prefix and 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def digest_of(key: str) -> bytes:
    """Return what the database keeps of a token key."""
    return hashlib.sha256(key.encode()).digest()
