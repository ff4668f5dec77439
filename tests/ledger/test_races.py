"""Races: concurrent commands on real connections."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.utils import timezone

from apps.core.conditional import PreconditionFailed
from apps.core.creation import Creation
from apps.ledger.models import Account, Transaction
from apps.ledger.use_cases.close_account import CloseAccount
from apps.ledger.use_cases.open_account import OpenAccount
from apps.ledger.use_cases.rename_account import RenameAccount
from apps.users.models import User
from tests.factories import UserFactory
from tests.ledger.assertions import assert_books_balance
from tests.ledger.factories import AccountFactory, deposit, withdraw
from tests.ledger.races import OneAccountRaces, TwoAccountsRaces
from tests.support.patience import HANG_S, eventually
from tests.support.races import at_once, codes, holding, wait_longer_than_the_first, waiters

pytestmark = pytest.mark.django_db(transaction=True)


def rename(account: Account, name: str, *, seen: Account | None = None) -> Account:
    """Rename an account, only if its version and name are those that were seen."""

    def precondition(present: Account) -> None:
        if seen and (present.version, present.name) != (seen.version, seen.name):
            raise PreconditionFailed

    command = RenameAccount(owner_id=account.owner_id, account_id=account.pk, name=name, precondition=precondition)
    return command.execute()


def open_account(owner: User, name: str = "", key: str | None = "once") -> Creation[Account]:
    now = timezone.now()
    return OpenAccount(owner_id=owner.pk, currency="USD", name=name, idempotency_key=key, now=now).execute()


@pytest.mark.usefixtures("_all_the_time")
class TestOneAccount(OneAccountRaces):
    def test_fifty_equal_requests_that_are_declined_share_one_record(self):
        account = AccountFactory(funded="1.00")

        answers = at_once([lambda: withdraw(account, "2.00", key="once")] * 50)

        assert codes(answers) == {"insufficient_funds": 50}
        assert len({answer.transaction_id for answer in answers}) == 1
        assert Transaction.objects.filter(status="declined").count() == 1

    def test_closing_races_a_deposit_and_no_money_is_locked_in(self):
        for _ in range(10):
            account = AccountFactory()

            def close(account=account):
                return CloseAccount(owner_id=account.owner_id, account_id=account.pk).execute()

            at_once([close, lambda account=account: deposit(account, "1.00")])

            account.refresh_from_db()
            assert not (account.is_closed and account.balance)
        assert_books_balance()


class TestRenaming:
    @pytest.mark.usefixtures("_all_the_time")
    def test_money_and_names_at_once_lose_neither(self):
        account = AccountFactory(funded="50.00")

        answers = at_once(
            [lambda: deposit(account, "1.00")] * 20
            + [lambda: withdraw(account, "1.00")] * 20
            + [lambda n=n: rename(account, f"name {n}") for n in range(20)]
        )

        assert codes(answers) == {"posted": 60}
        account.refresh_from_db()
        assert (account.balance, account.version) == (50, 41)
        assert account.name in {f"name {n}" for n in range(20)}
        assert_books_balance()

    @pytest.mark.usefixtures("_all_the_time")
    def test_of_twenty_who_have_seen_the_same_one_renames(self):
        account = AccountFactory(funded="50.00")

        answers = at_once([lambda n=n: rename(account, f"name {n}", seen=account) for n in range(20)])

        assert codes(answers) == {"posted": 1, "precondition_failed": 19}
        (done,) = (answer for answer in answers if isinstance(answer, Account))
        account.refresh_from_db()
        assert account.name == done.name

    def test_a_renaming_that_waits_is_decided_on_what_it_waited_for(self):
        account = AccountFactory(funded="50.00")

        with holding(account) as holder, ThreadPoolExecutor(1) as pool:
            answer = pool.submit(at_once, [lambda: rename(account, "late", seen=account)])
            eventually(lambda: waiters() == 1)
            with holder.other.cursor() as cursor:
                cursor.execute("UPDATE ledger_account SET name = 'first' WHERE id = %s", [account.pk])
            holder.other.commit()
            answers = answer.result()

        assert codes(answers) == {"precondition_failed": 1}
        account.refresh_from_db()
        assert account.name == "first"

    def test_waits_no_longer_than_money_does(self):
        account = AccountFactory()

        with holding(account):
            answers = at_once([lambda: rename(account, "late")])

        assert codes(answers) == {"contention": 1}


class TestOpening:
    @pytest.mark.usefixtures("_all_the_time")
    def test_fifty_equal_requests_with_one_key_open_one_account(self):
        owner = UserFactory()

        answers = at_once([lambda: open_account(owner)] * 50)

        assert codes(answers) == {"posted": 50}
        assert sum(not answer.replayed for answer in answers) == 1
        assert {answer.row.pk for answer in answers} == {Account.objects.get().pk}

    @pytest.mark.usefixtures("_all_the_time")
    def test_a_key_that_several_commands_race_for_belongs_to_one_of_them(self):
        owner = UserFactory()

        answers = at_once([lambda n=n: open_account(owner, f"name {n % 5}") for n in range(50)])

        assert codes(answers) == {"posted": 10, "idempotency_key_reused": 40}
        assert Account.objects.count() == 1

    @pytest.mark.usefixtures("_all_the_time")
    def test_keys_of_several_users_and_no_key_get_in_nobodys_way(self):
        owners = [UserFactory() for _ in range(10)]

        answers = at_once(
            [lambda owner=owner: open_account(owner) for owner in owners]
            + [lambda: open_account(owners[0], key=None)] * 10
        )

        assert codes(answers) == {"posted": 20}
        assert not any(answer.replayed for answer in answers)
        assert Account.objects.count() == 20

    def test_a_key_that_is_still_running_says_so(self):
        owner = UserFactory()

        def later():
            wait_longer_than_the_first()
            return open_account(owner)

        # The foreign key waits for the owner's row.
        with holding(owner):
            first, second = at_once([lambda: open_account(owner), later])

        assert [first.code, second.code] == ["idempotency_key_in_progress", "contention"]
        assert [first.retry_after_s, second.retry_after_s] == [1, 1]
        assert open_account(owner).replayed is False

    def test_an_account_that_is_not_committed_yet_is_waited_for(self):
        owner = UserFactory()
        other = connection.copy()
        other.inc_thread_sharing()
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(
                "INSERT INTO ledger_account (id, owner_id, name, currency, balance, version, status, created_at,"
                " idempotency_key, creation_fingerprint)"
                " VALUES (gen_random_uuid(), %s, '', 'USD', 0, 0, 'open', now(), 'once', 'another')",
                [owner.pk],
            )
        try:
            answers = at_once([lambda: open_account(owner)])
        finally:
            other.rollback()
            other.close()

        assert codes(answers) == {"idempotency_key_in_progress": 1}


@pytest.mark.usefixtures("_all_the_time")
class TestTwoAccounts(TwoAccountsRaces):
    pass


class TestWaiting:
    def test_a_lock_that_is_not_released_in_time_is_contention(self):
        account = AccountFactory(funded="10.00")

        with holding(account):
            answers = at_once([lambda: withdraw(account, "1.00")])

        assert codes(answers) == {"contention": 1}
        assert Transaction.objects.count() == 1

    def test_money_that_arrives_while_a_withdrawal_waits_can_be_withdrawn(self):
        account = AccountFactory(funded="1.00")
        is_held = threading.Event()

        def arrive():
            assert is_held.wait(HANG_S)
            return deposit(account, "100.00")

        def leave():
            eventually(lambda: waiters() == 1)
            return withdraw(account, "50.00")

        def release():
            with holding(account):
                is_held.set()
                eventually(lambda: waiters() == 2)

        # Both wait for the lock, in this order, and both began when there was 1.00.
        answers = at_once([release, arrive, leave])

        assert codes(answers[1:]) == {"posted": 2}
        account.refresh_from_db()
        assert account.balance == 51
        assert_books_balance()

    def test_closing_waits_no_longer_than_money_does(self):
        account = AccountFactory()

        with holding(account):
            answers = at_once([lambda: CloseAccount(owner_id=account.owner_id, account_id=account.pk).execute()])

        assert codes(answers) == {"contention": 1}

    def test_a_key_that_is_still_running_says_so(self):
        account = AccountFactory(funded="10.00")

        def later():
            wait_longer_than_the_first()
            return withdraw(account, "1.00", key="once")

        with holding(account):
            first, second = at_once([lambda: withdraw(account, "1.00", key="once"), later])

        # The first gives up while the second still waits; when that gives up, nobody is left.
        assert [first.code, second.code] == ["idempotency_key_in_progress", "contention"]
        assert [first.retry_after_s, second.retry_after_s] == [1, 1]
        assert withdraw(account, "1.00", key="once").replayed is False
