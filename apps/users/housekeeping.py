"""Housekeeping tasks: delete expired tokens, finished counts of failed logins, and expired sessions."""

from importlib import import_module

from django.conf import settings
from django.utils import timezone

from apps.core import housekeeping
from apps.users.models import LoginFailures, Token


@housekeeping.task("tokens")
def delete_expired_tokens() -> int:
    """Delete expired tokens."""
    return housekeeping.delete_in_batches(Token.objects.filter(expires_at__lte=timezone.now()))


@housekeeping.task("login failures")
def delete_finished_login_failures() -> int:
    """Delete counts of failed logins whose window is over."""
    return housekeeping.delete_in_batches(LoginFailures.objects.filter(window_ends_at__lte=timezone.now()))


@housekeeping.task("sessions")
def delete_expired_sessions() -> int:
    """Delete expired sessions, in batches; Django's `clearsessions` sends one statement for the whole table."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    if not hasattr(store, "get_model_class"):
        # Not in the database: the engine deletes them itself, and returns no count.
        store.clear_expired()
        return 0
    return housekeeping.delete_in_batches(store.get_model_class().objects.filter(expire_date__lte=timezone.now()))
