"""Users in the admin; tokens are never shown, not even their digests."""

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
def keep_the_log(instance: LogEntry, **_kwargs: object) -> None:
    """Refuse to delete a line of the admin's log, with its user or alone; the database refuses too."""
    message = "The admin's log is kept: deactivate the user instead."
    raise ProtectedError(message, {instance})


@admin.register(User)
class LoggedUserAdmin(UserAdmin[User]):
    """Django's, which would delete what a user did here together with the user."""

    def get_deleted_objects(
        self, objs: Sequence[Any] | QuerySet[Any], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Name the users whose lines of the log stand in the way."""
        deleted, counts, missing, protected = super().get_deleted_objects(objs, request)
        authors = User.objects.filter(pk__in=[user.pk for user in objs], logentry__isnull=False).distinct()
        return deleted, counts, missing, [*protected, *(f"The admin's log of {author}" for author in authors)]
