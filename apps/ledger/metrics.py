"""Ledger metrics: commands, and their replays. No label names a user or an account."""

from typing import Final

from prometheus_client import Counter

from apps.core.creation import REPLAYS
from apps.core.errors import DomainError, ErrorKind
from apps.core.observability.metrics import with_all_label_values
from apps.ledger.errors import Declined
from apps.ledger.models import Transaction
from apps.ledger.receipts import Receipt

COMMANDS: Final = with_all_label_values(
    Counter(
        "ledger_money_commands_total",
        "Commands to move money by outcome; one that is repeated under its key is a replay instead.",
        ["kind", "outcome"],
    ),
    kind=Transaction.Kind.values,
    outcome=("posted", "declined", "refused", "busy", "failed"),
)
with_all_label_values(REPLAYS, kind=Transaction.Kind.values)


def count_command(kind: Transaction.Kind, result: Receipt | Exception) -> None:
    """Count a command by its outcome, or as a replay. A request that is malformed or unauthenticated is no command."""
    if isinstance(result, Receipt | DomainError) and result.replayed:
        REPLAYS.labels(kind).inc()
    else:
        COMMANDS.labels(kind, _outcome(result)).inc()


def _outcome(result: Receipt | Exception) -> str:
    match result:
        case Receipt():
            return "posted"
        case Declined() if result.transaction_id:
            return "declined"
        case DomainError():
            return "busy" if result.kind is ErrorKind.BUSY else "refused"
        case _:
            return "failed"
