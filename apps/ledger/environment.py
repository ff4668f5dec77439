"""Environment variables of the ledger: the optional gate's."""

from collections.abc import Mapping
from typing import Any, Final

from apps.core.configuration import SECONDS, Key, Rules, one_of

KEYS: Final[Mapping[str, Key]] = {
    "LEDGER_GATE": Key(
        one_of("off", "redis"),
        "The optional gate (docs/ledger/adr/0005-gate-not-lock.md): requests for a busy account queue in Redis 6 or newer "
        "before they take a database connection. With Docker, redis also starts one where REDIS_URL names none.",
        default="off",
        example="off",
    ),
    "LEDGER_GATE_LEASE": Key(
        SECONDS, "How long the gate holds an account: a statement's limit and one second.", default=6.0, example="6"
    ),
    "LEDGER_GATE_WAIT": Key(SECONDS, "How long a command waits at the gate.", default=2.0, example="2"),
}


def gate_has_redis(env: Any) -> str:
    return "" if env("LEDGER_GATE") == "off" or env("REDIS_URL") else "must be given together: the gate is in Redis"


RULES: Final[Rules] = {("LEDGER_GATE", "REDIS_URL"): gate_has_redis}
