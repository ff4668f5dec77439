"""Who is asking: users, their tokens, and the count of wrong passwords.

A token is shown once, at login; the database keeps its SHA-256. That is enough for 256 random bits, which nobody can
guess from a digest, and a stolen dump opens nothing.
"""

import hashlib
import secrets
from datetime import datetime
from typing import ClassVar, Self

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone
from uuid_utils.compat import uuid7

TOKEN_PREFIX = "bank_"  # noqa: S105  lets secret scanners recognise a leaked token


class User(AbstractUser):
    """Somebody who can log in; custom from the first migration, because it can't be swapped in later."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    password_changed_at = models.DateTimeField(default=timezone.now, editable=False)

    def set_password(self, raw_password: str | None) -> None:
        """Set the password; tokens issued before this moment are dead, whoever set it and by whatever road."""
        super().set_password(raw_password)
        self.password_changed_at = timezone.now()


class TokenQuerySet(models.QuerySet["Token"]):
    """Tokens by what they are still good for."""

    def live(self, now: datetime) -> Self:
        """Tokens that open the API: not expired, of an active user, issued since the last change of the password."""
        return self.filter(
            expires_at__gt=now,
            user__is_active=True,
            created_at__gte=models.F("user__password_changed_at"),
        )

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
    reserved = models.IntegerField(default=0, db_default=0)
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
