"""Withdrawal: pay money out of an account."""

from dataclasses import dataclass
from typing import ClassVar

from apps.ledger.models import Transaction
from apps.ledger.posting import MoneyCommand, Sides


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw(MoneyCommand):
    """Pay money out of an account of the actor's, once per idempotency key.

    Raises and locks: as `posting.post`.
    """

    kind: ClassVar = Transaction.Kind.WITHDRAWAL

    @property
    def sides(self) -> Sides:
        return Sides(source_id=self.account_id, destination_id=None)
