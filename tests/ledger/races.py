"""Races that the books must survive in every mode of the gate: base classes of tests."""

from apps.ledger.models import Entry
from apps.ledger.use_cases.reverse_transaction import ReverseTransaction
from tests.factories import UserFactory, new_idempotency_key
from tests.ledger.assertions import assert_books_balance
from tests.ledger.factories import AccountFactory, transfer, withdraw
from tests.support.races import at_once, codes, deadlocks


class OneAccountRaces:
    def test_a_hundred_withdraw_one_from_fifty(self):
        account = AccountFactory(funded="50.00")

        answers = at_once([lambda: withdraw(account, "1.00")] * 100)

        print("100 x 1.00 from 50.00:", dict(codes(answers)))
        assert codes(answers) == {"posted": 50, "insufficient_funds": 50}
        account.refresh_from_db()
        assert (account.balance, account.version) == (0, 51)
        sequences = Entry.objects.filter(account=account).order_by("sequence").values_list("sequence", flat=True)
        assert list(sequences) == list(range(1, 52))
        assert_books_balance()

    def test_fifty_equal_requests_with_one_key_have_one_effect_and_one_answer(self):
        account = AccountFactory(funded="50.00")

        answers = at_once([lambda: withdraw(account, "1.00", key="once")] * 50)

        print("50 x one key:", dict(codes(answers)), "replays:", sum(answer.replayed for answer in answers))
        assert codes(answers) == {"posted": 50}
        assert sum(not answer.replayed for answer in answers) == 1
        receipts = {(a.transaction.pk, a.transaction.created_at, a.entry.pk, a.entry.balance_after) for a in answers}
        assert len(receipts) == 1
        account.refresh_from_db()
        assert account.balance == 49
        assert_books_balance()


class TwoAccountsRaces:
    ROUNDS = 20

    def test_opposing_transfers_never_deadlock(self):
        one, other = AccountFactory(funded="100.00"), AccountFactory(funded="100.00")
        before = deadlocks()

        answers = at_once(
            [lambda: [transfer(one, other, "0.01") for _ in range(self.ROUNDS)][-1]] * 8
            + [lambda: [transfer(other, one, "0.01") for _ in range(self.ROUNDS)][-1]] * 8
        )

        print(f"{16 * self.ROUNDS} opposing transfers:", dict(codes(answers)), "deadlocks:", deadlocks() - before)
        assert codes(answers) == {"posted": 16}
        assert deadlocks() == before
        one.refresh_from_db()
        other.refresh_from_db()
        assert (one.balance, other.balance) == (100, 100)
        assert_books_balance()

    def test_twenty_reversals_at_once_send_the_money_back_once(self):
        source, destination = AccountFactory(funded="100.00"), AccountFactory(funded="500.00")
        original = transfer(source, destination, "10.00").transaction
        staff = UserFactory(is_staff=True)

        def reverse():
            return ReverseTransaction(
                actor_id=staff.pk,
                actor_is_staff=True,
                transaction_id=original.pk,
                reference="",
                idempotency_key=new_idempotency_key(),
            ).execute()

        answers = at_once([reverse] * 20)

        assert codes(answers) == {"posted": 1, "already_reversed": 19}
        source.refresh_from_db()
        assert source.balance == 100
        assert_books_balance()
