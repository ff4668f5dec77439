"""The ledger's check for `manage.py housekeeping --verify`: what `manage.py verify_ledger` checks, without its report."""

from apps.core import housekeeping
from apps.ledger import verification


@housekeeping.check("ledger")
def verify() -> list[str]:
    """Return the invariants that are broken; `verify_ledger` gives examples."""
    with verification.snapshot():
        return [
            f"{finding.invariant.id} {finding.invariant.sentence} BROKEN, {finding.violations} times"
            for finding in verification.check()
            if finding.violations
        ]
