"""The Redis gate: the books balance with it, without it and under a failing Redis, and waiters hold no connection."""

import logging
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from textwrap import dedent

import pytest
import redis
from django.db import connection, transaction
from uuid_utils.compat import uuid7

from apps.ledger import gate, posting
from apps.ledger.gate import redis_gate
from apps.ledger.gate.metrics import GATE_WAIT
from apps.ledger.gate.redis_gate import GateOutcome, RedisGate
from apps.ledger.models import Account
from tests.ledger.assertions import assert_books_balance
from tests.ledger.factories import AccountFactory, deposit, transfer, withdraw
from tests.ledger.races import OneAccountRaces, TwoAccountsRaces
from tests.support.metric_deltas import counting
from tests.support.paths import ROOT
from tests.support.patience import HANG_S, eventually
from tests.support.races import codes
from tests.support.redis_server import RedisServer, again_and_again

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def shared_redis(request, settings) -> str:
    """The URL of the Redis that belongs to the runtime (Docker's container), else of one that is started here."""
    return settings.TEST_REDIS_URL or request.getfixturevalue("redis_server").url


@pytest.fixture
def outcomes(monkeypatch) -> Counter[GateOutcome]:
    """Count how the test's commands passed the gate."""
    counted: Counter[GateOutcome] = Counter()

    class CountingGate:
        @contextmanager
        def acquire(self, account_ids):
            with gate.get_gate().acquire(account_ids) as outcome:
                counted[outcome] += 1
                yield outcome

    monkeypatch.setattr(posting, "get_gate", lambda: CountingGate() if gate.get_gate() else None)
    return counted


@pytest.fixture
def set_up(settings, outcomes, monkeypatch) -> Callable[..., RedisGate]:
    """Turn the gate on, with a state of its own, and count from here."""

    def turn_on(url: str, *, lease_s: float = 6.0, wait_s: float = 2.0, redis_timeout_s: float = 5.0) -> RedisGate:
        # On a busy machine a Redis that is well would else be bypassed now and then.
        monkeypatch.setattr(redis_gate, "REDIS_TIMEOUT_S", redis_timeout_s)
        settings.LEDGER_GATE, settings.REDIS_URL = "redis", url
        settings.LEDGER_GATE_LEASE, settings.LEDGER_GATE_WAIT = lease_s, wait_s
        gate._redis_gate.cache_clear()
        outcomes.clear()
        return gate.get_gate()

    return turn_on


@contextmanager
def waiting(count: int, command: Callable[[], object], *, at: str) -> Iterator[list[Future[object]]]:
    """Run the block while so many threads, each with a connection as authentication leaves it, wait at this Redis."""
    server = redis.Redis.from_url(at, protocol=2)

    def run() -> object:
        try:
            connection.ensure_connection()
            return command()
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        answers = [pool.submit(run) for _ in range(count)]
        eventually(lambda: server.info("clients")["blocked_clients"] >= count)
        yield answers


def connections() -> int:
    """Count the test database's connections."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return cursor.fetchone()[0]


@pytest.fixture(
    params=[
        "on",
        "killed again and again",
        pytest.param("flushed every 50 ms", marks=pytest.mark.slow),
        pytest.param("a lease of 1 ms", marks=pytest.mark.slow),
    ]
)
def behind_the_gate(request, set_up, outcomes) -> Iterator[None]:
    """Everything runs with the gate in this state; off is what tests/ledger/test_races.py has itself."""
    every_s, trouble = 1.0, lambda: None
    match request.param:
        case "on":
            set_up(request.getfixturevalue("shared_redis"))
        case "a lease of 1 ms":
            set_up(request.getfixturevalue("shared_redis"), lease_s=0.001)
        case "flushed every 50 ms":
            server = request.getfixturevalue("redis_server")
            set_up(server.url)
            every_s, trouble = 0.05, server.client().flushall
        case "killed again and again":
            server = request.getfixturevalue("redis_server")
            # In use again soon after each crash.
            set_up(server.url).breaker.pause_s = 0.02
            every_s, trouble = 0.1, server.crash
    with again_and_again(trouble, every_s=every_s):
        yield
    print(f"gate {request.param}:", {str(outcome): count for outcome, count in outcomes.items()})
    # On a busy machine each command may meet a Redis that is down; the gate is in use again when the trouble is over.
    eventually(lambda: outcomes[GateOutcome.AT_ONCE] + outcomes[GateOutcome.WAITED] > 0 or is_in_use())


def is_in_use() -> bool:
    """Return whether a command gets through the gate, and is not only let past it."""
    with gate.get_gate().acquire([uuid7()]) as outcome:
        return outcome in {GateOutcome.AT_ONCE, GateOutcome.WAITED}


@pytest.mark.usefixtures("_all_the_time", "behind_the_gate")
class TestOneAccount(OneAccountRaces):
    pass


@pytest.mark.usefixtures("_all_the_time", "behind_the_gate")
class TestTwoAccounts(TwoAccountsRaces):
    """The same races, with fewer rounds."""

    ROUNDS = 3


class TestWaiters:
    def test_hold_no_connection_and_keep_nobody_else_out(self, set_up, shared_redis, outcomes):
        busy, other = AccountFactory(funded="100.00"), AccountFactory(funded="10.00")
        holder = ExitStack()
        holder.enter_context(set_up(shared_redis, lease_s=2 * HANG_S, wait_s=2 * HANG_S).acquire([busy.pk]))
        before = connections()

        with waiting(60, lambda: withdraw(busy, "1.00"), at=shared_redis) as answers:
            # A backend takes a moment to go.
            eventually(lambda: connections() - before <= 1)
            withdraw(other, "1.00")
            assert not any(answer.done() for answer in answers)
            holder.close()

        assert codes([answer.result() for answer in answers]) == {"posted": 60}
        assert outcomes == {GateOutcome.WAITED: 60, GateOutcome.AT_ONCE: 1}
        busy.refresh_from_db()
        assert busy.balance == 40
        assert_books_balance()

    def test_are_let_in_by_the_crash_of_redis(self, set_up, redis_server, outcomes):
        account = AccountFactory(funded="10.00")
        holder = ExitStack()
        holder.enter_context(set_up(redis_server.url, lease_s=2 * HANG_S, wait_s=2 * HANG_S).acquire([account.pk]))

        with waiting(20, lambda: withdraw(account, "1.00"), at=redis_server.url) as answers:
            redis_server.kill()
            refusals = [answer.exception() for answer in answers]
        holder.close()

        assert Counter(getattr(refusal, "code", "posted") for refusal in refusals) == {
            "posted": 10,
            "insufficient_funds": 10,
        }
        assert outcomes == {GateOutcome.BYPASSED: 20}
        assert_books_balance()

    def test_go_on_when_they_have_waited_long_enough(self, set_up, shared_redis, outcomes):
        account = AccountFactory(funded="10.00")

        with set_up(shared_redis, wait_s=0.3).acquire([account.pk]):
            begun = time.monotonic()
            withdraw(account, "1.00")
            took_s = time.monotonic() - begun

        assert took_s >= 0.3
        assert outcomes == {GateOutcome.TIMED_OUT: 1}

    def test_wait_once_for_all_their_accounts(self, set_up, shared_redis, outcomes, monkeypatch):
        one, other = sorted([AccountFactory(funded="10.00"), AccountFactory()], key=lambda account: account.pk)
        deposit(one, "10.00")
        outcomes.clear()
        gate, waited_for = set_up(shared_redis, wait_s=0.3), []
        wait = gate._wait
        monkeypatch.setattr(gate, "_wait", lambda account, left_s: waited_for.append(account) or wait(account, left_s))

        with gate.acquire([one.pk]), gate.acquire([other.pk]):
            transfer(one, other, "1.00")

        # It does not begin to wait for the second when it has waited long enough for the first.
        assert set(waited_for) == {one.pk}
        assert outcomes == {GateOutcome.TIMED_OUT: 1}

    def test_hold_no_account_that_is_asked_for_later(self, set_up, shared_redis):
        one, other = sorted([AccountFactory(funded="10.00"), AccountFactory()], key=lambda account: account.pk)
        deposit(other, "10.00")
        gate = set_up(shared_redis, lease_s=2 * HANG_S, wait_s=2 * HANG_S)
        holder = ExitStack()
        holder.enter_context(gate.acquire([one.pk]))

        with waiting(1, lambda: transfer(other, one, "1.00"), at=shared_redis) as (answer,):
            with gate.acquire([other.pk]) as outcome:
                assert outcome is GateOutcome.AT_ONCE
            holder.close()
            answer.result()

    def test_follow_a_holder_that_never_comes_back(self, set_up, shared_redis, outcomes):
        account = AccountFactory(funded="10.00")
        gate = set_up(shared_redis, lease_s=0.3, wait_s=HANG_S)

        lost = gate.acquire([account.pk])
        lost.__enter__()
        withdraw(account, "1.00")

        assert outcomes == {GateOutcome.WAITED: 1}

    def test_are_woken_by_the_bell_and_not_by_the_end_of_a_nap(self, set_up, shared_redis, monkeypatch):
        account = AccountFactory(funded="10.00")
        monkeypatch.setattr(redis_gate, "MAX_WAIT_S", 2 * HANG_S)
        holder = ExitStack()
        holder.enter_context(set_up(shared_redis, lease_s=4 * HANG_S, wait_s=4 * HANG_S).acquire([account.pk]))

        with waiting(1, lambda: withdraw(account, "1.00"), at=shared_redis) as (answer,):
            holder.close()
            answer.result(timeout=HANG_S)

    def test_keep_the_connection_of_an_open_transaction(self, set_up, shared_redis):
        account = AccountFactory(funded="10.00")
        gate = set_up(shared_redis, wait_s=0.1)

        with transaction.atomic(), gate.acquire([account.pk]), gate.acquire([account.pk]) as outcome:
            assert outcome is GateOutcome.TIMED_OUT
            assert Account.objects.count() == 1


class TestLease:
    def test_of_another_is_not_given_back(self, set_up, redis_server):
        account_id, server = uuid7(), redis_server.client()
        key = redis_gate._keys(account_id)[0]

        with set_up(redis_server.url, lease_s=0.02).acquire([account_id]):
            time.sleep(0.05)
            server.set(key, "another's")

        assert server.get(key) == b"another's"

    def test_is_gone_when_the_block_is_over_however_it_ends(self, set_up, redis_server):
        account_id, server = uuid7(), redis_server.client()

        key = redis_gate._keys(account_id)[0]

        def fail():
            with set_up(redis_server.url).acquire([account_id]):
                assert 0 < server.pttl(key) / 1000 <= 6
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()

        assert not server.exists(key)
        # The wake-up list is still there, and every key expires.
        assert all(server.pttl(rest) > 0 for rest in server.scan_iter())

    def test_of_one_account_does_not_hold_up_another(self, set_up, redis_server):
        gate = set_up(redis_server.url)

        with gate.acquire([uuid7()]), gate.acquire([uuid7()]) as outcome:
            assert outcome is GateOutcome.AT_ONCE


class TestWithoutRedis:
    def test_money_moves_and_the_log_says_it_once(self, set_up, redis_server, outcomes, caplog):
        account = AccountFactory(funded="10.00")
        breaker = set_up(redis_server.url).breaker
        breaker.pause_s = 0.1
        caplog.set_level(logging.INFO, "apps.ledger.gate")
        withdraw(account, "1.00")

        redis_server.kill()
        for _ in range(4):
            withdraw(account, "1.00")
            time.sleep(0.04)
        redis_server.start()
        time.sleep(0.3)
        withdraw(account, "1.00")

        assert outcomes == {GateOutcome.AT_ONCE: 2, GateOutcome.BYPASSED: 4}
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        assert "straight to the database: ConnectionError: " in caplog.messages[0]
        assert caplog.messages[1] == "The gate's Redis answers again."

    def test_one_that_hangs_costs_one_command_a_moment(self, set_up, redis_server, outcomes, monkeypatch):
        account = AccountFactory(funded="30.00")
        gate = set_up(redis_server.url, redis_timeout_s=0.25)
        gate.breaker.pause_s = 10 * HANG_S
        withdraw(account, "1.00")
        sent_scripts, acquire = [], gate._acquire_script
        monkeypatch.setattr(gate, "_acquire_script", lambda **sent: sent_scripts.append(sent) or acquire(**sent))

        redis_server.freeze()
        for _ in range(20):
            withdraw(account, "1.00")

        assert len(sent_scripts) == 1
        assert outcomes == {GateOutcome.AT_ONCE: 1, GateOutcome.BYPASSED: 20}

    def test_a_connection_that_was_cut_is_opened_again(self, set_up, redis_server):
        gate = set_up(redis_server.url)
        with gate.acquire([uuid7()]):
            pass

        redis_server.client().client_kill_filter(_type="normal", skipme=True)

        with gate.acquire([uuid7()]) as outcome:
            assert outcome is GateOutcome.AT_ONCE

    def test_one_that_dies_while_a_lease_is_held_changes_nothing(self, set_up, redis_server):
        with set_up(redis_server.url).acquire([uuid7()]) as outcome:
            redis_server.kill()

        assert outcome is GateOutcome.AT_ONCE

    def test_one_that_refuses_is_none(self, set_up, redis_server):
        redis_server.client().config_set("maxmemory", "1")

        with set_up(redis_server.url).acquire([uuid7()]) as outcome:
            assert outcome is GateOutcome.BYPASSED


def test_each_entry_is_counted_by_how_it_ended_with_the_time_it_took(set_up, redis_server):
    account_id, gate_ = uuid7(), set_up(redis_server.url, wait_s=0.1)
    entries, waited_s = counting("ledger_gate_wait_seconds"), GATE_WAIT.labels("timed_out")._sum.get()

    with gate_.acquire([account_id]), gate_.acquire([uuid7()]):
        assert entries() == {"entered": 2}
        with gate_.acquire([account_id]):
            assert entries() == {"entered": 2, "timed_out": 1}
    redis_server.kill()
    with gate_.acquire([account_id]):
        assert entries() == {"entered": 2, "timed_out": 1, "bypassed": 1}

    assert GATE_WAIT.labels("timed_out")._sum.get() - waited_s >= 0.1


class TestOff:
    def test_does_not_even_load_the_client(self):
        code = """
            import sys, django
            django.setup()
            from apps.ledger import posting
            print(posting.get_gate(), "redis" in sys.modules)
        """
        result = subprocess.run(
            [sys.executable, "-c", dedent(code)],
            env={"DJANGO_SETTINGS_MODULE": "config.settings.test"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.stdout.split() == ["None", "False"]


@pytest.mark.slow
def test_is_deleted_with_its_folder_and_one_settings_line(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name in ("apps", "config", "devtools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(tmp_path / "apps/ledger/gate")
    base = tmp_path / "config/settings/base.py"
    lines = base.read_text().splitlines(keepends=True)
    rest = [line for line in lines if not line.startswith("LEDGER_GATE_FACTORY = ")]
    assert len(lines) - len(rest) == 1
    base.write_text("".join(rest))

    code = "import django; django.setup(); from apps.ledger import posting; print(posting.__file__, posting.get_gate())"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={"DJANGO_SETTINGS_MODULE": "config.settings.test"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.stdout.split() == [str(tmp_path / "apps/ledger/posting.py"), "None"], result.stderr
