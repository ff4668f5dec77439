"""Creation of a row at most once per idempotency key: the columns, their constraints, the insert and the replay.

The key commits with the row and never expires: the same key and command again return the row as it is by then.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Generic, TypeVar
from uuid import UUID

from django.db import OperationalError, models, transaction
from django.db.models import Q
from prometheus_client import Counter
from psycopg import errors as postgres

from apps.core.contention import Contention, lock_timeout_error
from apps.core.idempotency import (
    IdempotencyKeyInProgress,
    IdempotencyKeyInvalid,
    IdempotencyKeyReused,
    fingerprint,
    mark,
)

REPLAYS: Final = Counter(
    "app_idempotent_replays_total",
    "Answers repeated under an Idempotency-Key, by what the command created.",
    ["kind"],
)
CREATION_ERRORS: Final = (IdempotencyKeyInvalid, IdempotencyKeyReused, IdempotencyKeyInProgress, Contention)
"""Domain errors of an operation that creates at most once per key, for its view."""


class CreatedOnce(models.Model):
    """Abstract model of an owner's rows; a subclass declares `owner`, the scope of the keys.

    A subclass with constraints of its own adds them: `constraints = [*CreatedOnce.Meta.constraints, ...]`.
    """

    owner_id: UUID

    # Null where it was created without a key: the constraint holds no two nulls for equal, as it would empty strings.
    idempotency_key = models.CharField(max_length=255, null=True, blank=True, editable=False)  # noqa: DJ001  see above
    # Of the command that created it, which cannot be read from the row: it may have changed since.
    creation_fingerprint = models.CharField(max_length=64, null=True, blank=True, editable=False)  # noqa: DJ001  with the key

    class Meta:
        abstract = True
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["owner", "idempotency_key"], name="%(class)s_is_created_once_per_key"),
            models.CheckConstraint(
                condition=Q(idempotency_key=None, creation_fingerprint=None)
                | Q(idempotency_key__isnull=False, creation_fingerprint__isnull=False),
                name="%(class)s_key_comes_with_a_fingerprint",
            ),
        ]


M = TypeVar("M", bound=CreatedOnce)


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation(Generic[M]):
    """A row that was created, as it is now, and whether this repeats an earlier answer."""

    row: M
    replayed: bool = False


def create_once(row: M, *, key: str | None, command: Mapping[str, object]) -> Creation[M]:
    """Insert a new row; with an idempotency key, once per key of its owner's.

    command: the validated fields of the request, which a repeat must have, too.
    Raises: IdempotencyKeyReused; IdempotencyKeyInProgress where a request under the key runs for longer than the lock
    timeout; Contention at any other lock timeout.
    Locks: the owner's row against its deletion, by the foreign key.
    Requires: no open transaction where there is a key.
    """
    if key is None:
        row.save(force_insert=True)
        return Creation(row=row)
    row.idempotency_key, row.creation_fingerprint = key, fingerprint(command)
    _insert_unless_key_is_used(row, key)
    stored = type(row)._default_manager.get(owner_id=row.owner_id, idempotency_key=key)
    return _creation(stored, command, replayed=stored.pk != row.pk)


def replay(model: type[M], *, owner_id: UUID, key: str | None, command: Mapping[str, object]) -> Creation[M] | None:
    """Return what was created under the key, or None. Raises: IdempotencyKeyReused."""
    if key is None:
        return None
    stored = model._default_manager.filter(owner_id=owner_id, idempotency_key=key).first()
    return None if stored is None else _creation(stored, command, replayed=True)


def _creation(stored: M, command: Mapping[str, object], *, replayed: bool) -> Creation[M]:
    if stored.creation_fingerprint != fingerprint(command):
        raise IdempotencyKeyReused
    if replayed:
        REPLAYS.labels(stored._meta.model_name).inc()
    return Creation(row=stored, replayed=replayed)


def _insert_unless_key_is_used(row: CreatedOnce, key: str) -> None:
    model = type(row)
    try:
        with transaction.atomic(durable=True):
            mark(scope=row.owner_id, key=key)
            # ON CONFLICT DO NOTHING waits for a row under the key that is not committed yet.
            model._default_manager.bulk_create([row], ignore_conflicts=True)
    except OperationalError as error:
        cause = error.__cause__
        if not isinstance(cause, postgres.LockNotAvailable):
            raise
        # An insert waits for a row of its own table only where that has the same key.
        waited_for_key = model._meta.db_table in (cause.diag.context or "")
        raise lock_timeout_error(row.owner_id, key, waited_for_key=waited_for_key) from error
