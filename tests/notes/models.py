"""Model of the tests' own, for what apps.core offers to any app's models."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from uuid_utils.compat import uuid7

from apps.core.creation import CreatedOnce
from apps.core.querysets import OwnedQuerySet


class NoteQuerySet(OwnedQuerySet["Note"]):
    """Notes by whose they are."""


class Note(CreatedOnce):
    """A note of one user."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    text = models.CharField(max_length=100)

    objects = NoteQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [*CreatedOnce.Meta.constraints]

    def __str__(self) -> str:
        return self.text
