"""What is counted when money is asked to move."""

from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

from tests.factories import AccountFactory

pytestmark = pytest.mark.django_db


def counts() -> dict[str, float]:
    """Return every command and replay that was counted in this process."""
    return {
        "/".join(sample.labels.values()): sample.value
        for family in REGISTRY.collect()
        if family.name in {"bank_money_commands", "bank_idempotent_replays"}
        for sample in family.samples
        if sample.name.endswith("_total")
    }


@pytest.fixture
def newly():
    """Tell what was counted since the test began: the registry is the process's."""
    before = counts()
    return lambda: {name: value - before[name] for name, value in counts().items() if value != before[name]}


def ask(client, account, verb, body, key=None):
    return client.post(f"/api/v1/accounts/{account.pk}/{verb}/", body, headers={"Idempotency-Key": key or str(uuid4())})


def test_each_command_is_counted_by_what_became_of_it(client, account, newly):
    ask(client, account, "deposits", {"amount": "5.00"})
    ask(client, account, "withdrawals", {"amount": "1000.00"})
    ask(client, account, "transfers", {"amount": "1.00", "destination": str(account.pk)})
    ask(client, AccountFactory(), "withdrawals", {"amount": "1.00"})

    assert newly() == {"deposit/posted": 1, "withdrawal/declined": 1, "transfer/refused": 1, "withdrawal/refused": 1}


@pytest.mark.parametrize(("amount", "outcome"), [("1.00", "posted"), ("1000.00", "declined")])
def test_a_replay_is_counted_as_one_and_not_as_a_command(client, account, newly, amount, outcome):
    for _ in range(3):
        ask(client, account, "withdrawals", {"amount": amount}, key="one-intent")

    assert newly() == {f"withdrawal/{outcome}": 1, "withdrawal": 2}


def test_what_never_was_a_command_is_not_counted(client, account, newly):
    ask(client, account, "deposits", {"amount": "five"})

    assert newly() == {}
