"""Remove what can never be used again."""

from typing import Any

from django.core.management.base import BaseCommand
from django.db.models import F, Q
from django.utils import timezone

from apps.users.models import LoginFailures, Token


class Command(BaseCommand):
    """Delete expired tokens, those that died with a password, and counts of failures whose window is over."""

    help = "Delete tokens that are expired or died with a password, and failure counts whose window is over."

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        dead = Q(expires_at__lte=now) | Q(created_at__lt=F("user__password_changed_at"))
        tokens, _ = Token.objects.filter(dead).delete()
        counts, _ = LoginFailures.objects.filter(window_ends_at__lte=now).delete()
        self.stdout.write(f"Deleted {tokens} dead tokens and {counts} finished failure counts.")
