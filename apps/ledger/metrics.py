"""Ledger metrics: commands, replays and contention. No label names a user or an account."""

from typing import Final

from django.db import OperationalError
from prometheus_client import Counter
from psycopg import errors as postgres

from apps.core.errors import DomainError, ErrorKind
from apps.core.observability.metrics import with_all_label_values
from apps.ledger.errors import Declined
from apps.ledger.models import Transaction
from apps.ledger.receipts import Receipt

COMMANDS: Final = with_all_label_values(
    Counter(
        "bank_money_commands_total",
        "Commands to move money by outcome; one that is repeated under its key is a replay instead.",
        ["kind", "outcome"],
    ),
    kind=Transaction.Kind.values,
    outcome=("posted", "declined", "refused", "busy", "failed"),
)
REPLAYS: Final = with_all_label_values(
    Counter("bank_idempotent_replays_total", "Answers repeated under an Idempotency-Key.", ["kind"]),
    kind=(*Transaction.Kind.values, "opening"),
)
CONTENTION: Final = with_all_label_values(
    Counter("bank_contention_total", "Conflicts on a locked account, also those that a retry resolved.", ["reason"]),
    reason=("lock_timeout", "deadlock", "serialization", "key_in_progress"),
)


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


def count_contention(error: OperationalError) -> None:
    """Count an error by which PostgreSQL reports a conflict between commands on an account; ignore any other."""
    match error.__cause__:
        case postgres.LockNotAvailable():
            CONTENTION.labels("lock_timeout").inc()
        case postgres.DeadlockDetected():
            CONTENTION.labels("deadlock").inc()
        case postgres.SerializationFailure():
            CONTENTION.labels("serialization").inc()
