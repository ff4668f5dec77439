"""Races: many clients at once against the application as it is deployed; sizes and figures: docs/ledger/proofs.md.

The quick sizes are part of `make test`, the long ones of `make test-long`.
"""

import itertools
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from apps.ledger.models import Account, Transaction
from tests.factories import UserFactory, new_idempotency_key, token_of
from tests.ledger.factories import AccountFactory, deposit
from tests.ledger.live.races import (
    run_the_bank_of_jepsen,
    send_fifty_equal_requests,
    send_opposing_transfers,
    transfer,
    withdraw_a_hundred_times_from_fifty,
    withdrawal,
)
from tests.ledger.requests import money_request
from tests.support.client import Answer, Client, Request, all_at_once, codes, once
from tests.support.races import deadlocks
from tests.support.scale import crowds, sizes
from tests.support.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("books"), crowds]

rounds = pytest.mark.parametrize("rounds", sizes(2, 20))


@pytest.fixture(scope="module", autouse=True)
def connected(server: Server) -> None:
    """A thread connects at its first request: a hundred at once, with a password each, may take longer than one waits."""
    look = Request("GET", "/api/v1/users/me/")
    for _ in range(10):
        if {answer.status for answer in all_at_once(server.address, "tok_nobodys", [look] * 100)} == {401}:
            return
    raise AssertionError("the server never got the connections that it is to have")


class TestOneAccount:
    @rounds
    def test_a_hundred_withdraw_one_from_fifty(self, server, user, token, rounds):
        withdraw_a_hundred_times_from_fifty(server, user, token, rounds)

    @rounds
    def test_fifty_equal_requests_with_one_key_have_one_effect_and_one_answer(self, server, user, token, rounds):
        send_fifty_equal_requests(server, user, token, rounds)

    @rounds
    def test_a_key_that_several_commands_race_for_belongs_to_one_of_them(self, server, user, token, rounds):
        for _ in range(rounds):
            account, other = AccountFactory(owner=user, funded="50.00"), AccountFactory()
            key = new_idempotency_key()
            rivals = [
                withdrawal(account, "1.00", key),
                withdrawal(account, "2.00", key),
                money_request(account.pk, "deposits", {"amount": "1.00"}, key),
                money_request(account.pk, "transfers", {"amount": "1.00", "destination": str(other.pk)}, key),
                money_request(account.pk, "withdrawals", {"amount": "1.00", "reference": "rent"}, key),
            ]

            answers = all_at_once(server.address, token, rivals * 10)

            assert codes(answers) == {"ok": 10, "idempotency_key_reused": 40}
            assert len({answer.text for answer in answers if answer.status == 201}) == 1
            assert Transaction.objects.filter(account=account, idempotency_key=key).count() == 1
            account.refresh_from_db()
            assert account.version == 2

    @rounds
    def test_fifty_equal_openings_with_one_key_are_one_account(self, server, user, token, rounds):
        for _ in range(rounds):
            request = Request("POST", "/api/v1/accounts/", {"name": "Holiday"}, new_idempotency_key())

            answers = all_at_once(server.address, token, [request] * 50)

            assert codes(answers) == {"ok": 50}
            assert (
                len({answer.text for answer in answers}) == len({answer.headers["location"] for answer in answers}) == 1
            )
            assert sum(not answer.replayed for answer in answers) == 1
            assert Account.objects.filter(owner=user, idempotency_key=request.key).count() == 1

    def test_renaming_while_money_moves_loses_neither(self, server, user, token):
        account = AccountFactory(owner=user, funded="50.00")
        names = [Request("PATCH", f"/api/v1/accounts/{account.pk}/", {"name": f"name {n}"}) for n in range(30)]

        answers = all_at_once(server.address, token, [*names, *(withdrawal(account) for _ in range(50))])

        assert codes(answers) == {"ok": 80}
        account.refresh_from_db()
        assert (account.balance, account.version) == (0, 51)
        assert account.name in {f"name {n}" for n in range(30)}

    def test_the_same_key_on_another_account_is_another_command(self, server, user, token):
        accounts = [AccountFactory(owner=user, funded="5.00") for _ in range(20)]

        answers = all_at_once(server.address, token, [withdrawal(account, "1.00", "same") for account in accounts])

        assert codes(answers) == {"ok": 20}
        assert not any(answer.replayed for answer in answers)

    @rounds
    def test_a_decline_stays_a_decline_when_money_arrives(self, server, user, token, rounds):
        for _ in range(rounds):
            account = AccountFactory(owner=user, funded="1.00")
            request = withdrawal(account, "2.00")

            declined = all_at_once(server.address, token, [request] * 10)
            deposit(account, "10.00")
            retried = all_at_once(server.address, token, [request] * 10)
            afresh = once(server.address, token, withdrawal(account, "2.00"))

            assert codes([*declined, *retried]) == {"insufficient_funds": 20}
            assert len({answer.body["transaction"] for answer in [*declined, *retried]}) == 1
            assert all(answer.replayed for answer in retried)
            assert afresh.status == 201
            account.refresh_from_db()
            assert account.balance == 9


class TestManyAccounts:
    @pytest.mark.parametrize("transfers_each", sizes(15, 1000))
    def test_the_bank_of_jepsen(self, server, user, token, seed, transfers_each):
        run_the_bank_of_jepsen(server, user, token, seed, transfers_each)

    @pytest.mark.parametrize("transfers_each", sizes(10, 1000))
    def test_opposing_transfers_never_deadlock(self, server, user, token, transfers_each):
        send_opposing_transfers(server, user, token, transfers_each)

    @pytest.mark.parametrize("operations", sizes(300, 10_000))
    def test_a_ring_with_reversals_and_closings(self, server, user, token, seed, operations):
        """Transfers go round five accounts; two clients at once reverse each; small accounts open and close."""
        ring = [AccountFactory(owner=user, funded="10000.00").pk for _ in range(5)]
        staff = token_of(UserFactory(is_staff=True))
        before, workers = deadlocks(), 10

        def work(number: int) -> list[tuple[str, Answer]]:
            with Client(server.address, token) as customer:
                return play(customer, random.Random(seed + number))

        def play(customer: Client, random_: random.Random) -> list[tuple[str, Answer]]:
            log: list[tuple[str, Answer]] = []

            def do(what: str, request: Request) -> Answer:
                log.append((what, customer.settle(request)))
                return log[-1][1]

            while len(log) < operations / workers:
                here = random_.randrange(5)
                source, destination = ring[here], ring[(here + random_.choice([1, 4])) % 5]
                moved = do("transfer", transfer(source, destination, f"{random_.randint(1, 900) / 100:.2f}"))
                if moved.status == 201 and random_.random() < 0.6:
                    path = f"/api/v1/transactions/{moved.body['id']}/reversal/"
                    twice = [Request("POST", path, {}, new_idempotency_key()) for _ in range(2)]
                    log += [("reversal", answer) for answer in all_at_once(server.address, staff, twice)]
                if random_.random() < 0.2:
                    do("close in use", Request("POST", f"/api/v1/accounts/{source}/close/", {}))
                if random_.random() < 0.2:
                    purse = do("open", Request("POST", "/api/v1/accounts/", {})).body["id"]
                    if do("fill", transfer(source, purse, "0.01")).status == 201:
                        do("empty", transfer(purse, source, "0.01"))
                    do("close", Request("POST", f"/api/v1/accounts/{purse}/close/", {}))
                    do("too late", transfer(source, purse, "0.01"))
            return log

        with ThreadPoolExecutor(workers) as pool:
            done = list(itertools.chain.from_iterable(pool.map(work, range(workers))))

        kinds = sorted({what for what, _ in done})
        by_kind = {what: dict(codes(answer for kind, answer in done if kind == what)) for what in kinds}
        print(f"{len(done)} operations: {by_kind}, deadlocks: {deadlocks() - before}")
        assert deadlocks() == before
        allowed = {
            "transfer": {"ok"},
            "reversal": {"ok", "already_reversed"},
            "close in use": {"account_not_empty"},
            "open": {"ok"},
            "fill": {"ok"},
            "empty": {"ok"},
            "close": {"ok"},
            "too late": {"account_closed"},
        }
        assert {kind: set(seen) - allowed[kind] for kind, seen in by_kind.items()} == {kind: set() for kind in kinds}
        # Of two reversals of one transfer exactly one is posted.
        reversals = Counter(answer.code for kind, answer in done if kind == "reversal")
        assert reversals["ok"] == reversals["already_reversed"] > 0
