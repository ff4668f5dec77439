"""Undo a transaction by another one; history is never edited."""

from dataclasses import dataclass
from uuid import UUID

from apps.core.errors import PermissionDenied
from apps.ledger.metrics import counted
from apps.ledger.models import Receipt, Transaction
from apps.ledger.posting import Command, post


@dataclass(frozen=True, slots=True, kw_only=True)
class ReverseTransaction:
    """Send the money of a posted transaction back the way it came, at most once.

    The key is scoped to the account that the original was asked of.
    Refuses: NotFound for a transaction that the actor can't see; PermissionDenied to all but staff; NotReversible,
    AlreadyReversed and the rest of `Declined`, recorded; else, and locks, as `posting.post`.
    """

    actor_id: UUID
    actor_is_staff: bool
    transaction_id: UUID
    reference: str
    idempotency_key: str

    @counted(Transaction.Kind.REVERSAL)
    def execute(self) -> Receipt:
        original = self._original()
        return post(
            Command(
                kind=Transaction.Kind.REVERSAL,
                account_id=original.account_id,
                source_id=original.destination_id,
                destination_id=original.source_id,
                amount=original.amount,
                currency=original.currency,
                reference=self.reference,
                idempotency_key=self.idempotency_key,
                actor_id=self.actor_id,
                owner_id=None,
                reverses_id=original.pk,
            )
        )

    def _original(self) -> Transaction:
        seen = Transaction.objects.all() if self.actor_is_staff else Transaction.objects.visible_to(self.actor_id)
        original = seen.get_or_refuse(self.transaction_id)
        if not self.actor_is_staff:
            raise PermissionDenied
        return original
