"""Move money from one account to another."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from apps.ledger.errors import SameAccount
from apps.ledger.metrics import counted
from apps.ledger.models import Account, Receipt, Transaction
from apps.ledger.posting import Command, post


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Move money from an account of the actor's to any open account of the same currency, once per idempotency key.

    Refuses: SameAccount; else, and locks, as `posting.post`.
    """

    actor_id: UUID
    account_id: UUID
    destination_id: UUID
    amount: Decimal
    currency: str | None
    reference: str
    idempotency_key: str

    @counted(Transaction.Kind.TRANSFER)
    def execute(self) -> Receipt:
        if self.destination_id == self.account_id:
            # Whose account it is comes first: a stranger is told the same as for one that does not exist.
            Account.objects.owned_by(self.actor_id).get_or_refuse(self.account_id)
            raise SameAccount
        return post(
            Command(
                kind=Transaction.Kind.TRANSFER,
                account_id=self.account_id,
                source_id=self.account_id,
                destination_id=self.destination_id,
                amount=self.amount,
                currency=self.currency,
                reference=self.reference,
                idempotency_key=self.idempotency_key,
                actor_id=self.actor_id,
                owner_id=self.actor_id,
            )
        )
