"""Admin of users. Tokens are not in the admin, not even their digests.

The admin's log is kept with its users. Where the application has a role of its own, the grants protect the log
(`apps.database.grants`); the checks here also hold where one role serves for both, and answer with a page and not a 500.
"""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import UserAdmin
from django.db.models import ProtectedError, QuerySet
from django.db.models.signals import pre_delete
from django.dispatch import receiver
from django.http import HttpRequest

from apps.users.models import User


@receiver(pre_delete, sender=LogEntry)
def protect_admin_log(instance: LogEntry, **_kwargs: object) -> None:
    """Raise ProtectedError when a line of the admin's log would be deleted, alone or with its user."""
    message = "The admin's log is kept: deactivate the user instead."
    raise ProtectedError(message, {instance})


@admin.register(User)
class LoggedUserAdmin(UserAdmin[User]):
    """Django's user admin, which by itself deletes a user together with their lines of the admin's log."""

    def get_deleted_objects(
        self, objs: Sequence[Any] | QuerySet[Any], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Add the users whose lines of the log prevent a deletion to the protected objects."""
        deleted, counts, missing, protected = super().get_deleted_objects(objs, request)
        authors = User.objects.filter(pk__in=[user.pk for user in objs], logentry__isnull=False).distinct()
        return deleted, counts, missing, [*protected, *(f"The admin's log of {author}" for author in authors)]
