"""Deposit: pay money into an account."""

from dataclasses import dataclass
from typing import ClassVar

from apps.ledger.models import Transaction
from apps.ledger.posting import MoneyCommand, Sides


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposit(MoneyCommand):
    """Pay money into an account of the actor's, once per idempotency key.

    Raises and locks: as `posting.post`.
    """

    kind: ClassVar = Transaction.Kind.DEPOSIT

    @property
    def sides(self) -> Sides:
        return Sides(source_id=None, destination_id=self.account_id)
