"""Querysets that any app's models may use: a missing row is the domain error NotFound, and rows belong to an owner."""

from typing import Self, TypeVar
from uuid import UUID

from django.core.exceptions import ObjectDoesNotExist
from django.db import models

from apps.core.errors import NotFound

M = TypeVar("M", bound=models.Model)


class RefusingQuerySet(models.QuerySet[M]):
    """A queryset that raises the domain error NotFound, which becomes a 404, where a row is missing."""

    def get_or_refuse(self, pk: UUID) -> M:
        """Return the row; raises NotFound."""
        try:
            return self.get(pk=pk)
        except ObjectDoesNotExist:
            raise NotFound from None


class OwnedQuerySet(RefusingQuerySet[M]):
    """A queryset of a model with an `owner`: another user's row is as missing as one that does not exist."""

    def owned_by(self, user_id: UUID) -> Self:
        """Rows of this user."""
        return self.filter(owner_id=user_id)
