"""An optional gate in front of the database: per account, one money command at a time; the others wait in Redis.

It is for accounts so busy that their waiters would use up the database's connections and block every other account.
Waiters in Redis hold no database connection. `LEDGER_GATE` is "off" by default.

Removing the gate changes latency, never balances. It hands out leases, not locks: a lease ends by the clock even if its
holder is merely slow, there is no fencing token, and a failover of Redis may grant one twice. So nothing is decided here;
the posting statement is as right with a hundred commands inside as with one. See docs/ledger/adr/0005-gate-not-lock.md.

It fails open. A command that has waited too long goes on without the lease, and if Redis is down, slow or wrong, commands
go straight to the database.

To delete the gate, delete this folder, its tests (test_gate.py in tests/ledger/ and tests/ledger/live/, and
tests/ledger/benchmarks/gate.py) and the line `LEDGER_GATE_FACTORY` in config/settings/base.py: `posting` then has no
gate, and nothing else imports this package. What is left without a use, and may go too: the keys LEDGER_GATE,
LEDGER_GATE_LEASE and LEDGER_GATE_WAIT, the two panels and the alert on `ledger_gate_wait_seconds`, and its import
contract in pyproject.toml.
"""

from functools import cache

from django.conf import settings

from apps.ledger.gate.redis_gate import RedisGate


def get_gate() -> RedisGate | None:
    """Return this process's gate, or None where it is off. Raises: ValueError for a REDIS_URL that redis-py rejects."""
    if settings.LEDGER_GATE == "off":
        return None
    return _redis_gate(settings.REDIS_URL, settings.LEDGER_GATE_LEASE, settings.LEDGER_GATE_WAIT)


@cache
def _redis_gate(url: str, lease_s: float, wait_s: float) -> RedisGate:
    return RedisGate(url, lease_s=lease_s, wait_s=wait_s)
