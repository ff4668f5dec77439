"""Draining, from SIGTERM to exit code 0: no request is refused or cut off."""

import json
import os
import signal
import socket
import time

import pytest

from apps.users.models import User
from tests.factories import PASSWORD
from tests.support.client import Address, Answer, Client, NoAnswer, Request
from tests.support.databases import database_url
from tests.support.patience import HANG_S, eventually
from tests.support.server import Instance

pytestmark = pytest.mark.slow

READYZ, LIVEZ = Request("GET", "/readyz/"), Request("GET", "/livez/")
DRAIN_S = 2
# What a platform waits before it kills (deploy/ecs/web.json).
GRACE_S = 45


@pytest.fixture
def start(transactional_db, tmp_path):
    """Start an instance on the test database; it is stopped at the end at the latest."""
    instances: list[Instance] = []

    def start(*, drain_s: int, workers: int = 1) -> Instance:
        log = tmp_path / f"gunicorn-{len(instances)}.log"
        instance = Instance(database_url(), log, workers=workers, threads=4, DRAIN_SECONDS=str(drain_s))
        instance.__enter__()
        instances.append(instance)
        return instance

    yield start
    for instance in instances:
        instance.__exit__()
    assert [instance.complaints() for instance in instances] == [[]] * len(instances)


def ask(address: Address, request: Request) -> Answer:
    """Ask on a connection of its own."""
    with Client(address, token=None) as client:
        return client.send(request)


def is_silent(address: Address) -> bool:
    """Tell whether a new connection gets no answer."""
    try:
        with Client(address, token=None, timeout_s=0.5) as late:
            late.send(LIVEZ)
    except NoAnswer:
        return True
    return False


def wait_until_it_drains(address: Address) -> Answer:
    """Return the body of /readyz/ when it is not ready."""
    answer = ask(address, READYZ)
    deadline = time.monotonic() + HANG_S
    while answer.status == 200:
        assert time.monotonic() < deadline
        answer = ask(address, READYZ)
    return answer


class TestDrain:
    def test_serves_on_and_asks_for_no_more_traffic(self, start):
        server = start(drain_s=10 * DRAIN_S, workers=2)
        kept = Client(server.address, token=None)
        assert kept.send(LIVEZ).headers["connection"] == "keep-alive"

        server.signal(signal.SIGTERM)
        not_ready = wait_until_it_drains(server.address)
        answers = [ask(server.address, request) for request in (LIVEZ, Request("GET", "/ping/")) for _ in range(20)]
        readiness = {ask(server.address, READYZ).status for _ in range(10)}
        with kept:
            last = kept.send(LIVEZ)

        assert not_ready.status == 503
        assert not_ready.body == {
            "status": "unavailable",
            "checks": {"server": "draining", "database": "ok", "migrations": "ok"},
        }
        assert readiness == {503}
        assert {answer.status for answer in answers} == {200}
        # The next request on a connection that was kept alive goes to another instance.
        assert (last.status, last.headers["connection"]) == (200, "close")
        # A second signal is from somebody who does not want to wait.
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0

    def test_ends_when_its_time_is_over(self, start):
        server = start(drain_s=DRAIN_S)

        server.signal(signal.SIGTERM)
        sent = time.monotonic()

        assert server.exit_code() == 0
        assert time.monotonic() - sent >= DRAIN_S
        with pytest.raises(NoAnswer):
            ask(server.address, LIVEZ)

    def test_a_worker_that_dies_meanwhile_is_replaced(self, start):
        server = start(drain_s=600)
        server.signal(signal.SIGTERM)
        wait_until_it_drains(server.address)

        (worker,) = server.workers()
        os.kill(worker, signal.SIGKILL)
        server.wait_until_it_answers("/livez/")

        assert ask(server.address, READYZ).status == 503
        # A second signal is from somebody who does not want to wait.
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0

    def test_ctrl_c_does_not_wait(self, start):
        server = start(drain_s=600)
        # A worker of gunicorn 27 that gets a SIGINT while it hands a request to a thread locks up until it is killed.
        time.sleep(1)

        server.signal(signal.SIGINT)

        assert server.exit_code() == 0

    def test_a_signal_before_it_serves_ends_it(self, transactional_db, tmp_path):
        """A container's first process is deaf to a SIGTERM that it has no handler for: it would be killed 45 s later."""
        with socket.create_server(("127.0.0.1", 0)) as silent_aws:
            host, port = silent_aws.getsockname()
            server = Instance(
                database_url(),
                tmp_path / "log",
                workers=1,
                threads=1,
                DJANGO_SETTINGS_MODULE="config.settings.production",
                APP_SECRETS_ID="app/production/app",
                AWS_REGION="eu-central-1",
                AWS_ACCESS_KEY_ID="nobody",
                AWS_SECRET_ACCESS_KEY="nothing",  # noqa: S106  it is none
                AWS_ENDPOINT_URL_SECRETS_MANAGER=f"http://{host}:{port}",
            )
            server.launch()
            silent_aws.settimeout(HANG_S)
            asking, _ = silent_aws.accept()
            with asking:
                server.signal(signal.SIGTERM)
                assert server.exit_code() == 0
            server.__exit__()


class TestRequestsInFlight:
    @pytest.mark.parametrize(
        ("drain_s", "body_s"), [(1, 3), pytest.param(5, 20, marks=pytest.mark.long)], ids=["quick", "long"]
    )
    def test_end_after_the_drain_and_within_the_grace(self, start, drain_s, body_s):
        """Sign-ups whose bodies are still arriving when the drain begins, as from a slow network, are served."""
        server = start(drain_s=drain_s)
        bodies = [json.dumps({"username": f"late-{number}", "password": PASSWORD}).encode() for number in range(3)]
        # One thread is left to answer the probes.
        begun = [begin_sign_up(server.address, body) for body in bodies]

        server.signal(signal.SIGTERM)
        sent = time.monotonic()
        wait_until_it_drains(server.address)
        time.sleep(body_s)
        # No new connection is served. gunicorn's workers keep the socket until they end, so it is not refused but silent:
        # whoever still comes then was not told by the drain.
        assert eventually(lambda: is_silent(server.address))
        assert not server.has_ended
        statuses = [finish(connection, body) for connection, body in zip(begun, bodies, strict=True)]

        assert statuses == [201] * len(begun)
        assert server.exit_code() == 0
        print(f"ended {time.monotonic() - sent:.1f} s after the signal, of {GRACE_S}")
        assert User.objects.filter(username__startswith="late-").count() == len(begun)


def begin_sign_up(address: Address, body: bytes) -> socket.socket:
    """Send all of a sign-up but the last byte."""
    head = [
        "POST /api/v1/users/ HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    connection = socket.create_connection(address, timeout=HANG_S)
    connection.sendall("\r\n".join([*head, "", ""]).encode() + body[:-1])
    return connection


def finish(connection: socket.socket, body: bytes) -> int:
    """Send the last byte, and return the status of the answer."""
    with connection:
        connection.sendall(body[-1:])
        return int(connection.makefile("rb").readline().split()[1])
