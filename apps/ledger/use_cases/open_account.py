"""Open an account."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from apps.ledger.models import Account


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAccount:
    """Give a user an empty account; its currency is for good."""

    owner_id: UUID
    currency: str
    name: str
    now: datetime

    def execute(self) -> Account:
        return Account.objects.create(
            owner_id=self.owner_id, currency=self.currency, name=self.name, created_at=self.now
        )
