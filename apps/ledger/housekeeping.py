"""The ledger's check for `manage.py housekeeping --verify`: the invariants of `verify_ledger`, without examples."""

from apps.core import housekeeping
from apps.ledger import verification


@housekeeping.check("ledger")
def verify() -> list[str]:
    """Return a sentence for each violated invariant; `verify_ledger` prints examples."""
    with verification.snapshot():
        return [
            f"{result.invariant.id} {result.invariant.sentence} FAILED, {result.violations} violations"
            for result in verification.check()
            if result.violations
        ]
