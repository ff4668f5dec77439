"""Audit log of the ledger: a customer whose reversal is refused."""

import pytest

from tests.factories import UserFactory, client_of
from tests.ledger.factories import AccountFactory, deposit

pytestmark = pytest.mark.django_db


def test_a_refused_reversal_is_logged_and_another_users_transaction_is_not(new_lines, user, client):
    account = AccountFactory(owner=user)
    path = f"/api/v1/transactions/{deposit(account, '1.00').transaction.pk}/reversal/"

    assert client.post(path, {}, headers={"Idempotency-Key": "r"}).status_code == 403
    assert new_lines() == [("WARNING", "permission denied", str(user.pk))]
    assert client_of(UserFactory()).post(path, {}, headers={"Idempotency-Key": "r"}).status_code == 404
    assert new_lines() == []
