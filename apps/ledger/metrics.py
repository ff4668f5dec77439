"""What operators count at the bank: commands, replays, contention and waits at the gate. Never whose."""

from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec

from django.db import OperationalError
from prometheus_client import Counter, Histogram
from psycopg import errors as postgres

from apps.core.errors import DomainError, ErrorKind
from apps.core.observability.metrics import with_all_label_values
from apps.ledger.errors import Declined
from apps.ledger.models import Receipt, Transaction

COMMANDS: Final = with_all_label_values(
    Counter(
        "bank_money_commands_total",
        "Commands to move money by what became of them; one that is repeated under its key is a replay instead.",
        ["kind", "outcome"],
    ),
    kind=Transaction.Kind.values,
    outcome=("posted", "declined", "refused", "busy", "failed"),
)
REPLAYS: Final = with_all_label_values(
    Counter("bank_idempotent_replays_total", "Answers that an Idempotency-Key was given again.", ["kind"]),
    kind=(*Transaction.Kind.values, "opening"),
)
CONTENTION: Final = with_all_label_values(
    Counter("bank_contention_total", "Meetings on a locked account, also those that a retry healed.", ["reason"]),
    reason=("lock_timeout", "deadlock", "serialization", "key_in_progress"),
)
GATE_WAIT: Final = with_all_label_values(
    Histogram(
        "bank_gate_wait_seconds",
        "Time at the ledger's gate by how it ended; open: its Redis could not be asked.",
        ["outcome"],
        buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2),
    ),
    outcome=("entered", "timed_out", "open"),
)

P = ParamSpec("P")


def counted(kind: Transaction.Kind) -> Callable[[Callable[P, Receipt]], Callable[P, Receipt]]:
    """Count what becomes of a use case's commands. What never became one (malformed, unauthenticated) is not here."""

    def decorate(execute: Callable[P, Receipt]) -> Callable[P, Receipt]:
        @wraps(execute)
        def run(*args: P.args, **kwargs: P.kwargs) -> Receipt:
            try:
                receipt = execute(*args, **kwargs)
            except Exception as error:
                if isinstance(error, DomainError) and error.replayed:
                    REPLAYS.labels(kind).inc()
                else:
                    COMMANDS.labels(kind, _outcome(error)).inc()
                raise
            if receipt.replayed:
                REPLAYS.labels(kind).inc()
            else:
                COMMANDS.labels(kind, "posted").inc()
            return receipt

        return run

    return decorate


def _outcome(error: Exception) -> str:
    match error:
        case Declined() if error.transaction_id:
            return "declined"
        case DomainError():
            return "busy" if error.kind is ErrorKind.BUSY else "refused"
        case _:
            return "failed"


def count_contention(error: OperationalError) -> None:
    """Count what PostgreSQL says when commands meet on an account."""
    match error.__cause__:
        case postgres.LockNotAvailable():
            CONTENTION.labels("lock_timeout").inc()
        case postgres.DeadlockDetected():
            CONTENTION.labels("deadlock").inc()
        case postgres.SerializationFailure():
            CONTENTION.labels("serialization").inc()
