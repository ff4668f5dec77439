"""Environment variables of the ledger's gate."""

import pytest

from tests.support.configuration import FULL, configure, problems


@pytest.mark.parametrize("malformed", ["on", "REDIS"])
def test_the_gate_is_off_or_in_redis(malformed):
    assert problems(**FULL | {"LEDGER_GATE": malformed}) == ["LEDGER_GATE must be one of off, redis"]


def test_the_gate_needs_redis():
    assert problems(**FULL | {"LEDGER_GATE": "redis"}) == [
        "LEDGER_GATE, REDIS_URL must be given together: the gate is in Redis"
    ]
    env = configure(**FULL | {"LEDGER_GATE": "redis", "REDIS_URL": "rediss://redis.example.org"})
    assert env("LEDGER_GATE") == "redis"
