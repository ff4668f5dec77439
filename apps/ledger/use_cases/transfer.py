"""Transfer: move money from one account to another."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from apps.ledger.errors import SameAccount
from apps.ledger.models import Account, Transaction
from apps.ledger.posting import MoneyCommand, Sides


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(MoneyCommand):
    """Move money from an account of the actor's to any open account of the same currency, once per idempotency key.

    Raises: SameAccount; else, and locks, as `posting.post`.
    """

    kind: ClassVar = Transaction.Kind.TRANSFER

    destination_id: UUID

    @property
    def sides(self) -> Sides:
        return Sides(source_id=self.account_id, destination_id=self.destination_id)

    def validate(self) -> None:
        if self.destination_id == self.account_id:
            # The owner is checked first: another user gets the same NotFound as for an account that does not exist.
            Account.objects.owned_by(self.actor_id).get_or_refuse(self.account_id)
            raise SameAccount
