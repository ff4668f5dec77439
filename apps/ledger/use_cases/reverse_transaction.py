"""Reversal: undo a transaction by another one; history is never edited."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from apps.core.errors import PermissionDenied
from apps.ledger.metrics import count_command
from apps.ledger.models import Transaction
from apps.ledger.posting import MoneyCommand, Sides
from apps.ledger.receipts import Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal(MoneyCommand):
    """The command that an original transaction determines: its amount, the other way."""

    kind: ClassVar = Transaction.Kind.REVERSAL

    original: Transaction

    @property
    def sides(self) -> Sides:
        return Sides(source_id=self.original.destination_id, destination_id=self.original.source_id)

    @property
    def owner_id(self) -> None:
        return None

    @property
    def reverses_id(self) -> UUID:
        return self.original.pk


@dataclass(frozen=True, slots=True, kw_only=True)
class ReverseTransaction:
    """Send the money of a posted transaction back the way it came, at most once.

    The idempotency key is scoped to the account in the original's URL.
    Raises: NotFound for a transaction that the actor can't see; PermissionDenied to all but staff; NotReversible,
    AlreadyReversed and the rest of `Declined`, recorded; else, and locks, as `posting.post`.
    """

    actor_id: UUID
    actor_is_staff: bool
    transaction_id: UUID
    reference: str
    idempotency_key: str

    def execute(self) -> Receipt:
        try:
            original = self._original()
        except Exception as error:
            count_command(Reversal.kind, error)
            raise
        return Reversal(
            actor_id=self.actor_id,
            account_id=original.account_id,
            amount=original.amount,
            currency=original.currency,
            reference=self.reference,
            idempotency_key=self.idempotency_key,
            original=original,
        ).execute()

    def _original(self) -> Transaction:
        visible = Transaction.objects.all() if self.actor_is_staff else Transaction.objects.visible_to(self.actor_id)
        original = visible.get_or_refuse(self.transaction_id)
        if not self.actor_is_staff:
            raise PermissionDenied
        return original
