"""The benchmark itself: its statistics, and that it fails for what it must not count."""

import random
import socket
import statistics
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import count, repeat

import psycopg
import pytest
from django.db import connection

from apps.ledger.posting_sql import POSTING_SQL
from tests.ledger.benchmarks import books, load
from tests.ledger.benchmarks.books import AMOUNT, OPENING, Audit, Books, MoneyLostError
from tests.ledger.benchmarks.comparison import refuse_losses
from tests.ledger.benchmarks.contenders import CONTENDERS, pgbench_script
from tests.ledger.benchmarks.estimates import Interval, bootstrap, percentile, ratio
from tests.ledger.benchmarks.load import LoadError
from tests.ledger.benchmarks.report import Goal, Wanted
from tests.ledger.benchmarks.workloads import WORKLOADS, keyed, request
from tests.support.client import Address


class TestEstimates:
    @pytest.mark.parametrize(("part", "expected"), [(0.5, 50), (0.99, 99), (0.991, 100), (1, 100), (0.001, 1)])
    def test_a_percentile_is_the_value_of_its_rank(self, part, expected, seed):
        values = list(range(1, 101))
        random.Random(seed).shuffle(values)

        assert percentile(values, part) == expected

    def test_the_interval_of_a_constant_is_a_point(self, seed):
        assert bootstrap([3.0] * 9, seed) == Interval(3.0, 3.0, 3.0)

    def test_the_interval_has_the_true_median_as_often_as_it_says(self, seed):
        """Of a percentile bootstrap of nine rounds about 95 in a hundred; 85 in 300 draws are nine deviations below."""
        random_ = random.Random(seed)
        draws = [[random_.lognormvariate(0, 0.3) for _ in range(9)] for _ in range(300)]

        hits = sum(found.low <= 1 <= found.high for found in (bootstrap(draw, seed) for draw in draws))

        assert 255 <= hits <= 300

    def test_an_interval_narrows_with_the_rounds(self, seed):
        random_ = random.Random(seed)
        few, many = ([random_.gauss(10, 1) for _ in range(rounds)] for rounds in (9, 900))

        widths = [found.high - found.low for found in (bootstrap(few, seed), bootstrap(many, seed))]

        assert widths[1] < widths[0]

    def test_what_slows_a_whole_round_divides_out(self, seed):
        speeds = [1.0, 0.1, 0.5, 2.0, 0.2, 1.5, 0.05, 1.0, 0.7]

        found = ratio([200 * speed for speed in speeds], [100 * speed for speed in speeds], seed)

        assert found == pytest.approx((2, 2, 2))

    def test_a_ratio_is_the_median_of_ratios_and_not_the_ratio_of_medians(self, seed):
        ones, others = [10.0, 40.0, 90.0], [10.0, 10.0, 100.0]

        assert ratio(ones, others, seed).median == 1
        assert statistics.median(ones) / statistics.median(others) == 4


class TestGoals:
    @pytest.mark.parametrize(
        ("at_most", "interval", "holds"),
        [
            (False, Interval(0.33, 0.4, 0.5), True),
            (False, Interval(0.32, 0.4, 0.5), False),
            (True, Interval(0.1, 0.2, 0.33), True),
            (True, Interval(0.1, 0.2, 0.34), False),
        ],
    )
    def test_the_worse_end_of_the_interval_counts(self, at_most, interval, holds):
        wanted = Wanted("", 0.33, ("", 8, ""), ("", 8, ""), at_most=at_most)

        assert Goal(wanted, interval).holds is holds


CREATED = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}"


@contextmanager
def answering(answers: Sequence[bytes]) -> Iterator[tuple[Address, list[bytes]]]:
    """Serve one connection after the other, each request with the next answer; an empty one closes the connection."""
    received: list[bytes] = []
    queue = iter(answers)

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while text := connection.recv(65536):
                    received.append(text)
                    answer = next(queue, CREATED)
                    if not answer:
                        break
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener], daemon=True)
        thread.start()
        yield listener.getsockname(), received
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def numbered() -> Iterator[bytes]:
    return (request("POST", f"/{number}/", "token", {"amount": "0.01"}, f"key-{number}") for number in count(1))


class TestLoad:
    def test_each_request_that_is_answered_counts_once(self):
        with answering([]) as (address, received):
            done = load.run(address, numbered(), connections=1, seconds=0.1)

        assert done.answers == len(received) == len(set(received)) > 0
        assert done.resent == 0
        assert done.seconds > 0
        assert done.client_cpu_s >= 0

    @pytest.mark.parametrize("status", ["422 Unprocessable", "500 Error", "503 Unavailable", "301 Moved", "429 Slow"])
    def test_any_status_but_2xx_ends_the_benchmark(self, status):
        refusal = f"HTTP/1.1 {status}\r\ncontent-length: 6\r\n\r\nreason".encode()
        with answering([CREATED, CREATED, refusal]) as (address, _), pytest.raises(LoadError, match="reason"):
            load.run(address, numbered(), connections=1, seconds=60)

    def test_a_request_on_a_connection_that_was_closed_is_sent_again_with_its_key(self):
        with answering([CREATED, b"", CREATED]) as (address, received):
            done = load.run(address, numbered(), connections=1, seconds=0.1)

        assert received[1] == received[2]
        assert done.resent == 1
        assert done.answers == len(received) - 1

    def test_an_answer_may_be_chunked(self):
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        with answering(list(repeat(chunked, 3))) as (address, received):
            done = load.run(address, numbered(), connections=1, seconds=0)

        assert (done.answers, len(received)) == (1, 1)

    def test_an_answer_whose_end_cannot_be_told_is_refused(self):
        with answering([b"HTTP/1.1 200 OK\r\n\r\n{}"]) as (address, _), pytest.raises(LoadError, match="length"):
            load.run(address, numbered(), connections=1, seconds=60)

    def test_no_two_money_requests_have_one_key(self, seed):
        accounts = [str(uuid.uuid4()) for _ in range(3)]
        of = Books(books.PEER_TABLES, "token", accounts, accounts[0], ["name"], "1")
        made = [WORKLOADS[name].requests(of, random.Random(seed)) for name in ("withdraw", "hot", "transfer")]

        keys = [next(requests).partition(b"Idempotency-Key: ")[2].partition(b"\r\n")[0] for requests in made * 50]

        assert len(set(keys)) == len(keys) == 150
        assert all(keys)

    def test_the_length_of_a_body_does_not_count_the_key(self):
        of = Books(books.PEER_TABLES, "token", [], "", [], "1")
        _, after = keyed("/", of)

        assert b'{"amount": "0.01"}' in after


class TestAudit:
    """On the contenders' tables, in a schema that goes with the test's transaction."""

    @pytest.fixture
    def peers(self, db) -> psycopg.Connection:
        connection.ensure_connection()
        peers = connection.connection
        peers.execute("CREATE SCHEMA benchmark")
        peers.execute("SET LOCAL search_path = benchmark")
        peers.execute(books.SCHEMA.read_text())
        return peers

    @pytest.fixture
    def of(self, peers) -> Books:
        """Two accounts, from which three withdrawals were acknowledged and recorded."""
        owner, accounts = uuid.uuid4(), [uuid.uuid4(), uuid.uuid4()]
        peers.execute("INSERT INTO customer VALUES (%s, 'owner', '')", [owner])
        for account in accounts:
            peers.execute(
                "INSERT INTO account VALUES (%s, %s, '', 'USD', %s, 0, 'open', now())", [account, owner, OPENING]
            )
        for number, account in enumerate([accounts[0], accounts[0], accounts[1]]):
            self.withdraw(peers, account, owner, f"key-{number}")
        of = Books(books.PEER_TABLES, "", [str(account) for account in accounts], "", [], "")
        of.withdrawals = 3
        return of

    @staticmethod
    def withdraw(peers, account, owner, key) -> None:
        movement = uuid.uuid4()
        peers.execute("UPDATE account SET balance = balance - %s WHERE id = %s", [AMOUNT, account])
        peers.execute(
            "INSERT INTO movement VALUES (%s, %s, %s, 'withdrawal', %s, NULL, %s, 'USD', '', %s, now())",
            [movement, account, key, account, AMOUNT, owner],
        )
        peers.execute(
            "INSERT INTO entry VALUES (%s, %s, %s, 1, %s, 0, now())", [uuid.uuid4(), movement, account, -AMOUNT]
        )

    def test_books_that_agree_lose_nothing(self, peers, of):
        assert books.audit(peers, of) == Audit(acknowledged=3, recorded=3, missing=Decimal(0))

    def test_a_lost_update_is_counted(self, peers, of):
        peers.execute("UPDATE account SET balance = balance + 2 * %s WHERE id = %s", [AMOUNT, of.accounts[0]])

        assert books.audit(peers, of).lost == 2

    def test_a_movement_that_is_not_there_is_refused(self, peers, of):
        of.withdrawals = 4

        with pytest.raises(MoneyLostError, match="4 movements were acknowledged, 3 are recorded"):
            books.audit(peers, of)

    def test_a_movement_that_nobody_acknowledged_is_refused(self, peers, of):
        of.withdrawals = 2

        with pytest.raises(MoneyLostError):
            books.audit(peers, of)

    def test_an_entry_of_another_amount_is_refused(self, peers, of):
        peers.execute("UPDATE entry SET amount = amount * 2")

        with pytest.raises(MoneyLostError, match="entries sum to"):
            books.audit(peers, of)

    @pytest.mark.parametrize("name", [name for name, one in CONTENDERS.items() if not one.loses_updates])
    def test_a_loss_ends_the_benchmark(self, name):
        with pytest.raises(MoneyLostError, match=f"{name} lost 2 of 3"):
            refuse_losses({name: Audit(acknowledged=3, recorded=3, missing=2 * AMOUNT)})

    def test_a_gain_ends_it_too(self):
        with pytest.raises(MoneyLostError):
            refuse_losses({"asyncpg": Audit(acknowledged=3, recorded=3, missing=-AMOUNT)})

    def test_only_who_takes_no_lock_may_lose(self):
        lossy = {name for name, contender in CONTENDERS.items() if contender.loses_updates}

        assert lossy == {"tutorial", "naive"}
        refuse_losses({name: Audit(acknowledged=3, recorded=3, missing=AMOUNT) for name in lossy})


def test_pgbench_runs_the_products_own_statement():
    script = pgbench_script(POSTING_SQL, uuid.uuid4(), accounts=5)

    assert "%(" not in script
    assert script.count(":key") > 1
    for word in (
        "FOR NO KEY UPDATE",
        "INSERT INTO ledger_transaction",
        "UPDATE ledger_account",
        "INSERT INTO ledger_entry",
    ):
        assert word in script
