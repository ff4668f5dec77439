"""Injected faults: PostgreSQL fails at any statement of a money command, before it or once it is carried out.

Each answer is a success or a problem that the client's rule covers, and is never wrong about the effect; the same key again
has one effect in all. The statements are found by running the command, not listed. `TestTheRealThing` provokes the same
errors from the server, to show that the injected ones are like them.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from socket import SHUT_RDWR, socket
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, OperationalError, close_old_connections, connection
from psycopg import errors as postgres

from apps.ledger import posting
from apps.ledger.models import Account, Transaction
from tests.factories import UserFactory, client_of, new_idempotency_key
from tests.ledger.assertions import assert_books_balance
from tests.ledger.factories import AccountFactory, deposit, transfer
from tests.support.password_postgres import PasswordPostgres, connected
from tests.support.patience import eventually
from tests.support.problems import assert_problem
from tests.support.races import deadlocks, holding, waiters

# Not counted for coverage, which would make it twice as slow: it goes the same ways again and again.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.no_cover]

UNAVAILABLE = (503, "unavailable")
CONTENTION = (409, "contention")
FULL = (422, "balance_limit_exceeded")
RETRIED = None

ANSWERS = {
    "40001": RETRIED,  # serialization_failure
    "40P01": RETRIED,  # deadlock_detected
    "55P03": CONTENTION,  # lock_not_available
    "57014": UNAVAILABLE,  # query_canceled: the statement's time is up
    "57P01": UNAVAILABLE,  # admin_shutdown: the session was ended
    "08006": UNAVAILABLE,  # connection_failure
    "53300": UNAVAILABLE,  # too_many_connections
    "22003": FULL,  # numeric_value_out_of_range
}
"""The client's answer when the posting statement fails with this SQLSTATE."""
ENDS_THE_SESSION = {"57P01", "08006", "53300"}
# Of the posting statement only, and never with an effect: nothing else computes, and what overflows is undone.
ARITHMETIC = "22003"


# --- The commands ----------------------------------------------------------------------------------------------------


@dataclass
class Request:
    """A request that can be sent again as it is, and the accounts that it may change."""

    user: Any
    path: str
    body: dict[str, str]
    accounts: list[Account]

    def __post_init__(self):
        self.key = new_idempotency_key()
        self.client = client_of(self.user)
        self.client.raise_request_exception = False

    def send(self):
        # What a server does round each request, and the test client leaves out.
        close_old_connections()
        try:
            return self.client.post(f"/api/v1/{self.path}/", self.body, headers={"Idempotency-Key": self.key})
        finally:
            close_old_connections()

    def effects(self) -> list[Any]:
        """Return the rows of the accounts, without the columns that differ from run to run."""
        accounts = Account.objects.filter(pk__in=[account.pk for account in self.accounts]).order_by("id")
        transactions = Transaction.objects.filter(account__in=accounts).order_by("id")
        return [
            *accounts.values_list("balance", "version", "status"),
            *transactions.values_list("kind", "status", "decline_code", "amount"),
        ]


def deposit_() -> Request:
    account = AccountFactory()
    return Request(account.owner, f"accounts/{account.pk}/deposits", {"amount": "25.00"}, [account])


def withdrawal() -> Request:
    account = AccountFactory(funded="100.00")
    return Request(account.owner, f"accounts/{account.pk}/withdrawals", {"amount": "25.00"}, [account])


def transfer_() -> Request:
    source, destination = AccountFactory(funded="100.00"), AccountFactory()
    body = {"amount": "25.00", "destination": str(destination.pk)}
    return Request(source.owner, f"accounts/{source.pk}/transfers", body, [source, destination])


def reversal() -> Request:
    source, destination = AccountFactory(funded="100.00"), AccountFactory()
    original = transfer(source, destination, "25.00").transaction
    staff = UserFactory(is_staff=True)
    return Request(staff, f"transactions/{original.pk}/reversal", {}, [source, destination])


def decline() -> Request:
    account = AccountFactory(funded="1.00")
    return Request(account.owner, f"accounts/{account.pk}/withdrawals", {"amount": "25.00"}, [account])


def again(first: Callable[[], Request]) -> Request:
    request = first()
    request.send()
    return request


def closing() -> Request:
    account = AccountFactory()
    return Request(account.owner, f"accounts/{account.pk}/close", {}, [account])


COMMANDS = {
    "deposit": deposit_,
    "withdrawal": withdrawal,
    "transfer": transfer_,
    "reversal": reversal,
    "decline": decline,
    "replay": partial(again, withdrawal),
    "replayed reversal": partial(again, reversal),
    "replayed decline": partial(again, decline),
    "lost race": partial(again, withdrawal),
    "closing": closing,
}


# --- The faults ------------------------------------------------------------------------------------------------------


class Fault:
    """Fails a request's statement of this number as the driver would; `carried_out`: once the server has done it."""

    def __init__(self, sqlstate: str, number: int, *, carried_out: bool = False) -> None:
        self.sqlstate, self.number, self.carried_out = sqlstate, number, carried_out
        self.seen = 0

    def __call__(self, execute, sql, params, many, context):
        self.seen += 1
        if self.seen != self.number:
            return execute(sql, params, many, context)
        if self.carried_out:
            execute(sql, params, many, context)
        with connection.wrap_database_errors:
            if self.sqlstate in ENDS_THE_SESSION:
                connection.connection.close()
            raise postgres.lookup(self.sqlstate)(f"injected {self.sqlstate}")


@dataclass
class Statement:
    sql: str
    may_write: bool = False

    @property
    def posts(self) -> bool:
        return self.sql == posting.POSTING_SQL


def statements_of(request: Request) -> tuple[list[Statement], Any]:
    """Send a request, and return its statements and its answer."""
    statements: list[Statement] = []

    def note(execute, sql, params, many, context):
        statements.append(Statement(sql))
        result = execute(sql, params, many, context)
        # Not if it was refused: that the server did it and the answer was lost is then no possible story.
        statements[-1].may_write = "INSERT" in sql or "UPDATE" in sql
        return result

    with connection.execute_wrapper(note):
        response = request.send()
    return statements, response


def faults_of(sqlstate: str, statements: list[Statement]) -> Iterator[Fault]:
    for number, statement in enumerate(statements, start=1):
        if sqlstate != ARITHMETIC or statement.posts:
            yield Fault(sqlstate, number)
        if sqlstate != ARITHMETIC and statement.may_write:
            yield Fault(sqlstate, number, carried_out=True)


def answer_of(response) -> tuple[int, str]:
    """Return status and code, of a problem that is whole."""
    if response.status_code < 300:
        return response.status_code, ""
    code = response.json()["code"]
    assert_problem(response, response.status_code, code)
    assert ("Retry-After" in response.headers) == (response.status_code in {409, 503})
    return response.status_code, code


# The same ways as another command's, and as many faults again.
SELDOM = {"replayed reversal", "replayed decline", "lost race"}


@pytest.mark.parametrize(
    "command", [pytest.param(name, marks=[pytest.mark.slow] if name in SELDOM else []) for name in COMMANDS]
)
def test_a_fault_at_any_statement_has_an_honest_answer_and_one_effect(command, monkeypatch, subtests):
    if command == "lost race":
        # As if the key had been taken since the statement's snapshot (Note [Replay after lock] in posting).
        blind = posting.POSTING_SQL.replace(") AS key_is_used", ") AND false AS key_is_used")
        assert blind != posting.POSTING_SQL
        monkeypatch.setattr(posting, "POSTING_SQL", blind)
    clean = COMMANDS[command]()
    before = clean.effects()
    statements, response = statements_of(clean)
    done, after = answer_of(response), clean.effects()
    # Nothing but the posting statement computes, and closing does not post.
    assert any(statement.posts for statement in statements) or command == "closing"

    for sqlstate, to_posting in ANSWERS.items():
        answers = []
        for fault in faults_of(sqlstate, statements):
            statement = statements[fault.number - 1]
            where = f"{'after' if fault.carried_out else 'before'} {' '.join(statement.sql.split())[:60]}"
            with subtests.test(sqlstate=sqlstate, where=where):
                request = COMMANDS[command]()
                with connection.execute_wrapper(fault):
                    answer = answer_of(request.send())
                answers.append(answer)
                if statement.posts:
                    assert answer == (to_posting or done)
                else:
                    assert answer in {done, CONTENTION, UNAVAILABLE}
                allowed = {done: [after], FULL: [before]}.get(answer, [before, after])
                assert request.effects() in allowed

                assert answer_of(request.send()) == done
                assert request.effects() == after
        print(f"{command}, {sqlstate}: {len(answers)} faults in {len(statements)} statements: {sorted(set(answers))}")
        assert answers or (command, sqlstate) == ("closing", ARITHMETIC)

    assert_books_balance()


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_what_fails_again_and_again_is_contention_and_leaves_nothing(sqlstate):
    request = transfer_()
    before = request.effects()

    def always(execute, sql, params, many, context):
        if sql != posting.POSTING_SQL:
            return execute(sql, params, many, context)
        with connection.wrap_database_errors:
            raise postgres.lookup(sqlstate)

    with connection.execute_wrapper(always):
        assert answer_of(request.send()) == CONTENTION

    assert request.effects() == before
    assert answer_of(request.send()) == (201, "")


@pytest.mark.parametrize("sqlstate", [state for state in ANSWERS if state != ARITHMETIC])
def test_a_fault_while_asking_who_holds_the_lock_leaves_nothing(sqlstate):
    request = withdrawal()
    before = request.effects()

    with connection.execute_wrapper(Fault(sqlstate, 3)), connection.execute_wrapper(Fault("55P03", 2)):
        answer = answer_of(request.send())

    assert answer == (ANSWERS[sqlstate] or (201, ""))
    assert (request.effects() == before) == (answer != (201, ""))
    assert answer_of(request.send()) == (201, "")
    assert_books_balance()


# --- The real thing --------------------------------------------------------------------------------------------------


@contextmanager
def caught() -> Iterator[list[DatabaseError]]:
    """Collect the errors that the database really raised in the block."""
    errors: list[DatabaseError] = []

    def watch(execute, sql, params, many, context):
        try:
            return execute(sql, params, many, context)
        except DatabaseError as error:
            errors.append(error)
            raise

    with connection.execute_wrapper(watch):
        yield errors


@contextmanager
def meanwhile(action: Callable[[], Any]) -> Iterator[None]:
    """Do something on another thread once the block waits for a lock, which it may do as long as that takes."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = 0; SET statement_timeout = 0")
    connection.connection.response_timeout_s = None

    def act() -> None:
        try:
            eventually(lambda: waiters() > 0)
            action()
        finally:
            connection.close()

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        # The next one has the usual limits.
        connection.close()


class TestTheRealThing:
    """The server itself fails, with errors of the same classes as the injected ones."""

    @staticmethod
    def assert_like(error: DatabaseError, sqlstate: str) -> None:
        assert isinstance(error.__cause__, postgres.lookup(sqlstate))
        with pytest.raises(type(error)), connection.wrap_database_errors:
            raise postgres.lookup(sqlstate)

    @staticmethod
    def assert_recovers(request: Request) -> None:
        """On the same thread, with the same key, and once."""
        assert answer_of(request.send()) == (201, "")
        replay = request.send()
        assert (answer_of(replay), replay.headers["Idempotent-Replayed"]) == ((201, ""), "true")
        assert_books_balance()

    @pytest.fixture
    def request_(self) -> Request:
        request = withdrawal()
        # Log in before the accounts are locked.
        request.client.get("/api/v1/accounts/")
        return request

    @pytest.fixture
    def backend_pid(self) -> int:
        connection.ensure_connection()
        return connection.connection.info.backend_pid

    def test_a_lock_that_is_not_had_in_time(self, request_):
        with caught() as errors, holding(request_.accounts[0]):
            assert answer_of(request_.send()) == CONTENTION

        self.assert_like(errors[0], "55P03")
        self.assert_recovers(request_)

    def test_a_statement_whose_time_is_up(self, request_):
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = '200ms'")
        with caught() as errors, holding(request_.accounts[0]):
            assert answer_of(request_.send()) == UNAVAILABLE

        self.assert_like(errors[0], "57014")
        with connection.cursor() as cursor:
            cursor.execute("RESET statement_timeout")
        self.assert_recovers(request_)

    def test_a_session_that_is_ended(self, request_, backend_pid):
        def end() -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s)", [backend_pid])

        with caught() as errors, holding(request_.accounts[0]), meanwhile(end):
            assert answer_of(request_.send()) == UNAVAILABLE

        self.assert_like(errors[0], "57P01")
        self.assert_recovers(request_)

    def test_a_connection_that_breaks_while_the_server_goes_on(self, request_):
        """The server commits the statement and cannot send the response: the response is lost, the money is not."""
        connection.ensure_connection()
        ours = socket(fileno=connection.connection.fileno())

        with caught() as errors, holding(request_.accounts[0]), meanwhile(lambda: ours.shutdown(SHUT_RDWR)):
            assert answer_of(request_.send()) == UNAVAILABLE
        ours.detach()

        # libpq's own words, without an SQLSTATE; 08006 is of the same family.
        assert type(errors[0].__cause__) is psycopg.OperationalError
        assert issubclass(postgres.lookup("08006"), psycopg.OperationalError)
        self.assert_recovers(request_)
        assert Account.objects.get(pk=request_.accounts[0].pk).balance == 75

    def test_a_server_that_takes_no_more_connections(self, request_, tmp_path):
        with ExitStack() as stack:
            server = stack.enter_context(
                PasswordPostgres(tmp_path, max_connections=5, superuser_reserved_connections=1)
            )
            with suppress(psycopg.OperationalError):
                for _ in range(5):
                    stack.enter_context(psycopg.connect(server.url("first")))
            stack.enter_context(connected(server.url("first")))
            with pytest.raises(OperationalError, match="connection slots are reserved"):
                connection.ensure_connection()
            assert answer_of(request_.send()) == UNAVAILABLE

        self.assert_recovers(request_)

    def test_a_row_that_changed_under_a_snapshot(self, request_):
        """Impossible at READ COMMITTED; a database's default may be another isolation level."""
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_isolation = 'repeatable read'")
        holder = holding(request_.accounts[0])

        def change() -> None:
            with holder.other.cursor() as cursor:
                cursor.execute("UPDATE ledger_account SET name = 'changed'")
            holder.other.commit()

        with caught() as errors, holder, meanwhile(change):
            assert answer_of(request_.send()) == (201, "")

        self.assert_like(errors[0], "40001")
        with connection.cursor() as cursor:
            cursor.execute("RESET default_transaction_isolation")
        assert request_.send().headers["Idempotent-Replayed"] == "true"
        assert_books_balance()

    def test_a_deadlock_with_somebody_who_locks_in_another_order(self):
        request = transfer_()
        first, second = sorted(request.accounts, key=lambda account: account.pk)
        before = deadlocks()
        holder = holding(second)

        # Each looks for a circle once, when it has waited so long. It is to be the request's, and by then there must be one.
        with connection.cursor() as cursor:
            cursor.execute("SET deadlock_timeout = '2s'")

        def lock_first_too() -> None:
            # By now the request holds the first and waits for the second, or there would be no circle.
            with holder.other.cursor() as cursor:
                cursor.execute("SET LOCAL deadlock_timeout = '1min'")
                cursor.execute("SELECT 1 FROM ledger_account WHERE id = %s FOR UPDATE", [first.pk])
            holder.other.rollback()

        with caught() as errors, holder, meanwhile(lock_first_too):
            assert answer_of(request.send()) == (201, "")
        connection.close()

        self.assert_like(errors[0], "40P01")
        # Once more, perhaps, if the request was back before the other had woken up.
        assert deadlocks() > before
        assert request.send().headers["Idempotent-Replayed"] == "true"
        assert_books_balance()

    def test_a_column_that_holds_less_than_the_code_believes(self, settings, monkeypatch):
        settings.MAX_AMOUNT = Decimal(10**15)
        account = AccountFactory()
        deposit(account, "999999999999999.00")
        body = {"amount": "1.00"}
        request = Request(account.owner, f"accounts/{account.pk}/deposits", body, [account])
        before = request.effects()

        with caught() as errors, monkeypatch.context() as patch:
            patch.setattr(posting, "MAX_VALUE", Decimal(10**18))
            assert answer_of(request.send()) == FULL

        self.assert_like(errors[0], "22003")
        assert request.effects() == before
        assert answer_of(request.send()) == FULL
        assert Transaction.objects.get(status="declined").decline_code == "balance_limit_exceeded"
