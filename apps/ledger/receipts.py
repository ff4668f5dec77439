"""Results of use cases: a transaction with the entry that its reader is shown, and an opened account."""

from dataclasses import dataclass

from apps.ledger.models import Account, Entry, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A transaction, one of its entries (None when declined) and whether this repeats an earlier answer.

    entry: the one on the account in the URL, unless a function documents another.
    """

    transaction: Transaction
    entry: Entry | None
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """An account that was opened, as it is now, and whether this repeats an earlier answer."""

    account: Account
    replayed: bool = False
