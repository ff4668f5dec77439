"""Requests that the example traffic of the ledger lacks, for graphs that need them: a reversal, and a lock timeout."""

from collections import Counter

from django.db import transaction

from apps.ledger.models import Account, Transaction
from tests.factories import UserFactory, token_of
from tests.ledger.factories import AccountFactory
from tests.ledger.requests import money_request
from tests.support.client import Client, Request
from tests.support.server import Server


def trouble(server: Server) -> Counter[int]:
    """Send them, and return how many responses of each status came."""
    seen: Counter[int] = Counter()
    account = AccountFactory(funded="10.00")
    deposit = Transaction.objects.get(account=account)
    with Client(server.address, token_of(UserFactory(is_staff=True))) as staff:
        reversal = Request("POST", f"/api/v1/transactions/{deposit.pk}/reversal/", {}, "again")
        seen[staff.send(reversal).status] += 1
    with Client(server.address, token_of(account.owner)) as owner, transaction.atomic():
        Account.objects.select_for_update().get(pk=account.pk)
        seen[owner.send(money_request(account.pk, "withdrawals", {"amount": "1.00"})).status] += 1
    assert {201, 409} == set(seen)
    return seen
