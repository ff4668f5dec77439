"""Races against a live server, that the books must survive in every mode of the gate; figures: docs/ledger/proofs.md."""

import random
import time
from collections import Counter
from decimal import Decimal
from typing import Any

from apps.ledger.models import Account, Entry, Transaction
from apps.users.models import User
from tests.ledger.factories import AccountFactory
from tests.ledger.requests import money_request
from tests.support.client import Request, all_at_once, codes, in_processes
from tests.support.races import deadlocks
from tests.support.server import Server


def withdrawal(account: Account, amount: str = "1.00", key: str | None = None) -> Request:
    return money_request(account.pk, "withdrawals", {"amount": amount}, key)


def transfer(source: Any, destination: Any, amount: str) -> Request:
    return money_request(source, "transfers", {"amount": amount, "destination": str(destination)})


def withdraw_a_hundred_times_from_fifty(server: Server, user: User, token: str, rounds: int) -> None:
    for _ in range(rounds):
        account = AccountFactory(owner=user, funded="50.00")

        answers = all_at_once(server.address, token, [withdrawal(account) for _ in range(100)])

        assert codes(answers) == {"ok": 50, "insufficient_funds": 50}
        assert Counter(answer.status for answer in answers) == {201: 50, 422: 50}
        account.refresh_from_db()
        assert (account.balance, account.version) == (0, 51)
        sequences = Entry.objects.filter(account=account).order_by("sequence").values_list("sequence", flat=True)
        assert list(sequences) == list(range(1, 52))


def send_fifty_equal_requests(server: Server, user: User, token: str, rounds: int) -> None:
    for _ in range(rounds):
        account = AccountFactory(owner=user, funded="50.00")
        request = withdrawal(account)

        answers = all_at_once(server.address, token, [request] * 50)

        # Clients that got 409 have retried.
        assert {answer.status for answer in answers} == {201}
        assert len({answer.text for answer in answers}) == 1
        assert len([answer for answer in answers if not answer.replayed]) == 1
        account.refresh_from_db()
        assert (account.balance, account.version) == (49, 2)


def run_the_bank_of_jepsen(server: Server, user: User, token: str, seed: int, transfers_each: int) -> None:
    """Jepsen's bank test: eight accounts, 100.00 in all, twenty workers; every read of all accounts sums to 100.00."""
    random_ = random.Random(seed)
    accounts = [AccountFactory(owner=user, funded="12.50").pk for _ in range(8)]
    look = Request("GET", "/api/v1/accounts/?limit=200")

    def transfers() -> list[Request]:
        moves = (random_.sample(accounts, 2) for _ in range(transfers_each))
        return [transfer(*move, f"{random_.randint(1, 500) / 100:.2f}") for move in moves]

    looks_each = max(60, transfers_each)
    readers = [[look] * looks_each for _ in range(4)]
    before, start = deadlocks(), time.monotonic()
    answers = in_processes(server.address, token, [*readers, *(transfers() for _ in range(20))])
    took_s = time.monotonic() - start

    looks = [answer.body["results"] for answer in answers if answer.status == 200]
    moves = [answer for answer in answers if answer.status != 200]
    print(f"{len(moves)} transfers {dict(codes(moves))}, {len(looks)} looks, {took_s:.1f} s")
    assert len(looks) == 4 * looks_each
    assert {sum(Decimal(account["balance"]) for account in seen) for seen in looks} == {Decimal(100)}
    assert all(len(seen) == 8 and Decimal(account["balance"]) >= 0 for seen in looks for account in seen)
    # More than one picture was seen, or the readers proved nothing.
    assert len({str(seen) for seen in looks}) > 20
    assert set(codes(moves)) <= {"ok", "insufficient_funds"}
    assert len(moves) == 20 * transfers_each == Transaction.objects.filter(kind="transfer").count()
    assert deadlocks() == before


def send_opposing_transfers(server: Server, user: User, token: str, transfers_each: int) -> None:
    one, other = (AccountFactory(owner=user, funded="1000.00") for _ in range(2))
    there = [[transfer(one.pk, other.pk, "0.01") for _ in range(transfers_each)] for _ in range(8)]
    back = [[transfer(other.pk, one.pk, "0.01") for _ in range(transfers_each)] for _ in range(8)]
    before = deadlocks()

    answers = in_processes(server.address, token, [script for pair in zip(there, back, strict=True) for script in pair])

    print(f"{len(answers)} opposing transfers: {dict(codes(answers))}, deadlocks: {deadlocks() - before}")
    assert codes(answers) == {"ok": 16 * transfers_each}
    assert deadlocks() == before
    for account in (one, other):
        account.refresh_from_db()
        assert account.balance == 1000
