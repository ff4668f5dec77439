"""Races: concurrent commands on real connections."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import pytest
from django.db import connection
from django.utils import timezone

from apps.core.conditional import PreconditionFailed
from apps.core.errors import DomainError
from apps.ledger.models import Account, Entry, Transaction
from apps.ledger.receipts import Opening, Receipt
from apps.ledger.use_cases.close_account import CloseAccount
from apps.ledger.use_cases.open_account import OpenAccount
from apps.ledger.use_cases.rename_account import RenameAccount
from apps.ledger.use_cases.reverse_transaction import ReverseTransaction
from apps.users.models import User
from tests.factories import AccountFactory, UserFactory, deposit, new_idempotency_key, transfer, withdraw
from tests.ledger.assertions import assert_books_balance
from tests.support.patience import HANG_S, eventually

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(commands: list[Callable[[], Receipt]]) -> list[Receipt | DomainError]:
    """Run every command on a thread and a connection of its own, all let go at the same moment."""
    start = threading.Barrier(len(commands))

    def run(command: Callable[[], Receipt]) -> Receipt | DomainError:
        try:
            connection.ensure_connection()
            start.wait(timeout=HANG_S)
            return command()
        except DomainError as refusal:
            return refusal
        finally:
            connection.close()

    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(run, commands))


def codes(answers: list[Any]) -> Counter[str]:
    return Counter(answer.code if isinstance(answer, DomainError) else "posted" for answer in answers)


def rename(account: Account, name: str, *, seen: Account | None = None) -> Account:
    """Rename an account, only if its version and name are those that were seen."""

    def precondition(present: Account) -> None:
        if seen and (present.version, present.name) != (seen.version, seen.name):
            raise PreconditionFailed

    command = RenameAccount(owner_id=account.owner_id, account_id=account.pk, name=name, precondition=precondition)
    return command.execute()


def open_account(owner: User, name: str = "", key: str | None = "once") -> Opening:
    now = timezone.now()
    return OpenAccount(owner_id=owner.pk, currency="USD", name=name, idempotency_key=key, now=now).execute()


def deadlocks() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return cursor.fetchone()[0]


@pytest.mark.usefixtures("_all_the_time")
class TestOneAccount:
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
        assert {answer.account.pk for answer in answers} == {Account.objects.get().pk}

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
                " idempotency_key, opening_fingerprint)"
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
class TestTwoAccounts:
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


def waiters() -> int:
    """Count the sessions of this database that wait for a lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pg_blocking_pids(pid) <> '{}'"
        )
        return cursor.fetchone()[0]


def wait_longer_than_the_first() -> None:
    """Return when another command waits for a lock already; this connection then waits for longer than that one."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '3500ms'; SET statement_timeout = 0")
    connection.connection.response_timeout_s = None
    eventually(lambda: waiters() == 1)


class holding:
    """Keep a row locked by another connection for the length of the block."""

    def __init__(self, row: Account | User) -> None:
        self.row = row

    def __enter__(self) -> Self:
        self.other = connection.copy()
        self.other.inc_thread_sharing()
        self.other.set_autocommit(False)
        with self.other.cursor() as cursor:
            cursor.execute(f"SELECT 1 FROM {self.row._meta.db_table} WHERE id = %s FOR UPDATE", [self.row.pk])
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.other.rollback()
        self.other.close()
