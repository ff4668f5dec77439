"""README's requests on the ledger, run as they stand: one deposit, one withdrawal that is sent twice."""

import pytest

from apps.ledger.models import Account, Transaction
from tests.support.readme import run_requests

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("books"), pytest.mark.slow]


def test_the_second_withdrawal_is_a_replay(server):
    printed = run_requests(server.address)

    assert printed.count("Idempotent-Replayed: true") == 1
    assert [str(account.balance) for account in Account.objects.all()] == ["75.0000"]
    assert sorted(Transaction.objects.values_list("kind", flat=True)) == ["deposit", "withdrawal"]
