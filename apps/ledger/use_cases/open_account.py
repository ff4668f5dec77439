"""Opening an account."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from apps.core.contention import retry_on_contention
from apps.core.creation import Creation, create_once, replay
from apps.core.money.currencies import CURRENT
from apps.ledger.errors import CurrencyWithdrawn
from apps.ledger.models import Account


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAccount:
    """Open an empty account for a user; its currency never changes. With an idempotency key, once per key of the user's.

    Raises: CurrencyWithdrawn; else, and locks, as `creation.create_once`.
    """

    owner_id: UUID
    currency: str
    name: str
    idempotency_key: str | None = None
    now: datetime

    @retry_on_contention
    def execute(self) -> Creation[Account]:
        command = {"currency": self.currency, "name": self.name}
        if self.currency not in CURRENT:
            # What was opened under the key is shown again, also where its currency has been withdrawn since.
            opened = replay(Account, owner_id=self.owner_id, key=self.idempotency_key, command=command)
            if opened is None:
                raise CurrencyWithdrawn(currency=self.currency)
            return opened
        account = Account(owner_id=self.owner_id, currency=self.currency, name=self.name, created_at=self.now)
        return create_once(account, key=self.idempotency_key, command=command)
