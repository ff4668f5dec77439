"""Slow clients, with and without the buffering proxy that docker/nginx configures."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from tests.support.client import Address, Client, NoAnswer, Request
from tests.support.databases import database_url
from tests.support.nginx import Nginx, find_nginx
from tests.support.patience import HANG_S, eventually
from tests.support.server import Instance

pytestmark = pytest.mark.slow

THREADS = 2
SLOW_CLIENTS = 40
HEADER = b"GET /livez/ HTTP/1.1\r\nHost: localhost\r\n"
BODY = b"POST /api/token/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"


@pytest.fixture(scope="module")
def instance(django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[Instance]:
    find_nginx()
    with django_db_blocker.unblock():
        url = database_url()
    log = tmp_path_factory.mktemp("gunicorn") / "log"
    with Instance(url, log, workers=1, threads=THREADS) as instance:
        yield instance


@pytest.fixture(scope="module")
def nginx(instance, tmp_path_factory) -> Iterator[Nginx]:
    with Nginx(tmp_path_factory.mktemp("nginx"), [instance.address]) as nginx:
        yield nginx


@contextmanager
def slow_clients(address: Address, beginning: bytes) -> Iterator[None]:
    """Clients that have sent the beginning of a request, and take their time."""
    with ExitStack() as stack:
        for _ in range(SLOW_CLIENTS):
            stack.enter_context(socket.create_connection(address)).sendall(beginning)
        yield


def is_served(address: Address, within_s: float = HANG_S) -> bool:
    with suppress(NoAnswer), Client(address, token=None, timeout_s=within_s) as client:
        return client.send(Request("GET", "/livez/")).status == 200
    return False


@pytest.mark.parametrize("beginning", [HEADER, BODY], ids=["header", "body"])
def test_slow_clients_keep_nobody_out(instance, nginx, beginning):
    with slow_clients(nginx.address, beginning):
        assert all(is_served(nginx.address) for _ in range(20))
    # The reason for the proxy: without it, threads wait for slow clients, and no other client is served.
    with slow_clients(instance.address, beginning):
        assert not is_served(instance.address, within_s=2)
    instance.wait_until_it_answers()


@contextmanager
def silent_instance() -> Iterator[socket.socket]:
    """An instance that takes every connection and answers nothing, as one whose queue is long."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        yield listener


def test_an_instance_with_all_that_it_can_take_gets_no_more(tmp_path):
    """The rest is refused at once, and the probes pass."""
    me = b"GET /api/v1/users/me/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
    most = 5
    with (
        silent_instance() as instance,
        Nginx(tmp_path / "nginx", [instance.getsockname()], most_requests=most) as nginx,
        ExitStack() as stack,
    ):
        for _ in range(most):
            stack.enter_context(socket.create_connection(nginx.address)).sendall(me)
            stack.enter_context(instance.accept()[0])
        with Client(nginx.address, token=None) as client:
            refused = client.send(Request("GET", "/api/v1/users/me/"))
        # They are connected and wait; the count of the probes is another one.
        for path in ("livez", "ping", "readyz"):
            probe = stack.enter_context(socket.create_connection(nginx.address))
            probe.sendall(f"GET /{path}/ HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            passed_on = stack.enter_context(instance.accept()[0])
            assert passed_on.recv(100).startswith(f"GET /{path}/".encode())

    assert (refused.status, refused.code) == (503, "unavailable")
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["retry-after"] == "5"
    assert refused.body["request_id"] == refused.headers["x-request-id"]
    assert refused.body["instance"] == "/api/v1/users/me/"


def test_a_client_that_is_slow_with_its_body_takes_no_place(tmp_path):
    with (
        silent_instance() as instance,
        Nginx(tmp_path / "nginx", [instance.getsockname()], most_requests=1) as nginx,
        slow_clients(nginx.address, BODY),
        socket.create_connection(nginx.address) as prompt,
    ):
        prompt.sendall(b"GET /api/v1/users/me/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        instance.settimeout(HANG_S)
        with instance.accept()[0] as passed_on:
            assert passed_on.recv(100).startswith(b"GET /api/v1/users/me/")


def test_passes_on_who_asks_and_how(nginx):
    """The application judges hosts, and a client cannot claim HTTPS, another address or a larger body than is read."""
    with Client(nginx.address, token=None) as client:
        answer = client.send(Request("GET", "/api/v1/users/me/"))
        assert (answer.status, answer.code) == (401, "not_authenticated")
        assert answer.headers["content-type"] == "application/problem+json"
        # Over 64 KiB, and under what nginx itself refuses.
        refused = client.send(Request("POST", "/api/token/", {"username": "x" * 70_000, "password": "y"}))
        assert (refused.status, refused.code) == (413, "body_too_large")


def test_its_log_has_the_applications_request_id_and_no_query(nginx):
    with Client(nginx.address, token=None) as client:
        answer = client.send(Request("GET", "/api/v1/users/me/?cursor=secret"))

    # The line is written after the answer.
    lines = eventually(
        lambda: [line for line in nginx.log.read_text().splitlines() if answer.headers["x-request-id"] in line]
    )
    assert len(lines) == 1
    assert '"path": "/api/v1/users/me/"' in lines[0]
    assert "secret" not in nginx.log.read_text()
