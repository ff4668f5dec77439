"""Ledger metrics: commands by outcome, replays and contention."""

from contextlib import closing
from uuid import uuid4

import pytest
from django.db import connection
from psycopg import errors as postgres

from apps.core import contention
from apps.ledger import posting
from tests.ledger.factories import AccountFactory
from tests.support.metric_deltas import counting

pytestmark = pytest.mark.django_db


@pytest.fixture
def newly():
    """Return what was counted of commands and replays since the test began."""
    return counting("ledger_money_commands", "app_idempotent_replays")


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


def test_an_account_that_is_opened_again_under_its_key_is_a_replay(client, newly):
    for _ in range(3):
        client.post("/api/v1/accounts/", {}, headers={"Idempotency-Key": "k"})

    assert newly() == {"account": 2}


def test_a_reversal_that_is_not_allowed_is_counted_as_refused(client, account, newly):
    for transaction_id, status in ((account.transactions.get().pk, 403), (uuid4(), 404)):
        path = f"/api/v1/transactions/{transaction_id}/reversal/"
        assert client.post(path, headers={"Idempotency-Key": str(uuid4())}).status_code == status

    assert newly() == {"reversal/refused": 2}


def test_what_never_was_a_command_is_not_counted(client, account, newly):
    ask(client, account, "deposits", {"amount": "five"})

    assert newly() == {}


class TestTrouble:
    """PostgreSQL fails at the posting statement."""

    @pytest.fixture
    def failing(self):
        """Make the statement fail so many times."""

        def failing(sqlstate, times=1000):
            def execute(execute, sql, params, many, context):
                nonlocal times
                if sql != posting.POSTING_SQL or not times:
                    return execute(sql, params, many, context)
                times -= 1
                with connection.wrap_database_errors:
                    raise postgres.lookup(sqlstate)

            return connection.execute_wrapper(execute)

        return failing

    @pytest.fixture
    def withdraw(self, client, account, newly, failing):
        """Withdraw while the statement fails; return the status, and what was counted of commands and of contention."""

        def withdraw(sqlstate, times):
            meetings = counting("app_contention")
            with failing(sqlstate, times):
                status = ask(client, account, "withdrawals", {"amount": "1.00"}).status_code
            return status, newly(), meetings()

        return withdraw

    @pytest.mark.parametrize(
        ("fault", "status", "outcome", "conflicts"),
        [
            (("55P03", 1), 409, "busy", {"lock_timeout": 1}),
            (("40001", 1), 201, "posted", {"serialization": 1}),
            (("40P01", 2), 201, "posted", {"deadlock": 2}),
            (("40001", 1000), 409, "busy", {"serialization": contention.MAX_TRIES}),
            (("40P01", 1000), 409, "busy", {"deadlock": contention.MAX_TRIES}),
            (("57014", 1), 503, "failed", {}),
            (("57P01", 1), 503, "failed", {}),
        ],
    )
    def test_is_counted_by_what_it_was_and_by_what_became_of_it(self, withdraw, fault, status, outcome, conflicts):
        assert withdraw(*fault) == (status, {f"withdrawal/{outcome}": 1}, conflicts)

    def test_our_own_key_in_progress_is_told_apart(self, client, account, newly, failing):
        meetings, key = counting("app_contention"), str(uuid4())
        with closing(connection.copy()) as other, other.cursor() as cursor:
            # The advisory lock of a command under this key, which runs on another connection.
            mark = "SELECT pg_advisory_lock(hashtextextended(%s || ' ' || %s, 0))"
            cursor.execute(mark, [str(account.pk), key])
            with failing("55P03"):
                answer = ask(client, account, "deposits", {"amount": "1.00"}, key=key)

        assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_in_progress")
        assert newly() == {"deposit/busy": 1}
        assert meetings() == {"key_in_progress": 1}

    def test_a_bug_is_a_failure(self, client, account, newly, monkeypatch):
        client.raise_request_exception = False
        monkeypatch.setattr(posting, "_execute", lambda *_: 1 / 0)

        assert ask(client, account, "deposits", {"amount": "1.00"}).status_code == 500
        assert newly() == {"deposit/failed": 1}
