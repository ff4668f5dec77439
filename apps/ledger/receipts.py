"""Receipts: a transaction with the entry that its reader is shown, the result of the use cases that move money."""

from dataclasses import dataclass

from apps.ledger.models import Entry, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A transaction, one of its entries (None when declined) and whether this repeats an earlier answer.

    entry: the one on the account in the URL, unless a function documents another.
    """

    transaction: Transaction
    entry: Entry | None
    replayed: bool = False
