"""Pay money into an account."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from apps.ledger.metrics import counted
from apps.ledger.models import Receipt, Transaction
from apps.ledger.posting import Command, post


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposit:
    """Pay money into an account of the actor's, once per idempotency key.

    Refuses and locks: as `posting.post`.
    """

    actor_id: UUID
    account_id: UUID
    amount: Decimal
    currency: str | None
    reference: str
    idempotency_key: str

    @counted(Transaction.Kind.DEPOSIT)
    def execute(self) -> Receipt:
        return post(
            Command(
                kind=Transaction.Kind.DEPOSIT,
                account_id=self.account_id,
                source_id=None,
                destination_id=self.account_id,
                amount=self.amount,
                currency=self.currency,
                reference=self.reference,
                idempotency_key=self.idempotency_key,
                actor_id=self.actor_id,
                owner_id=self.actor_id,
            )
        )
