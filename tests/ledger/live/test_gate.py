"""Races with the Redis gate in front, healthy and failing: the gate changes latency, never balances.

With the gate off they are test_races.py itself; quick, in-process versions are in tests/ledger/test_gate.py.
"""

from collections.abc import Iterator

import pytest

from tests.ledger.live.races import (
    run_the_bank_of_jepsen,
    send_fifty_equal_requests,
    send_opposing_transfers,
    withdraw_a_hundred_times_from_fifty,
)
from tests.support.databases import database_url
from tests.support.redis_server import RedisServer, again_and_again
from tests.support.scale import crowds
from tests.support.server import Server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("books"), pytest.mark.long, crowds]

ROUNDS = 20
MODES = ("on", "killed again and again", "flushed every 50 ms", "a lease of 1 ms")


@pytest.fixture(scope="module", params=MODES)
def server(request, django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[Server]:
    with django_db_blocker.unblock():
        url = database_url()
    log = tmp_path_factory.mktemp("gunicorn") / "log"
    with RedisServer() as redis:
        lease_s = "0.001" if request.param == "a lease of 1 ms" else "6"
        gate = {"LEDGER_GATE": "redis", "REDIS_URL": redis.url, "LEDGER_GATE_LEASE": lease_s}
        troubles = {
            "killed again and again": (redis.crash, 2.0),
            "flushed every 50 ms": (redis.client().flushall, 0.05),
        }
        trouble, every_s = troubles.get(request.param, (lambda: None, 1.0))
        with Server(url, log, workers=3, threads=34, **gate) as server, again_and_again(trouble, every_s=every_s):
            yield server


class TestBehindTheGate:
    def test_a_hundred_withdraw_one_from_fifty(self, server, user, token):
        withdraw_a_hundred_times_from_fifty(server, user, token, ROUNDS)

    def test_fifty_equal_requests(self, server, user, token):
        send_fifty_equal_requests(server, user, token, ROUNDS)

    def test_the_bank_of_jepsen(self, server, user, token, seed):
        run_the_bank_of_jepsen(server, user, token, seed, 250)

    def test_opposing_transfers_never_deadlock(self, server, user, token):
        send_opposing_transfers(server, user, token, 250)
