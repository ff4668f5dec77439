"""A task of ECS as it ships, nginx and gunicorn with production's settings: slow clients, deadlines, deployments, stops."""

import http.client
import json
import os
import selectors
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pytest
from django.db import connection
from django.test import RequestFactory

from apps.core.throttling import address_of
from tests.factories import PASSWORD
from tests.support import ecs_task
from tests.support.client import Address, Answer, Client, NoAnswer, Request
from tests.support.databases import database_url
from tests.support.ecs_task import Task
from tests.support.health_checks import Check, container, target_group
from tests.support.metrics_endpoint import read, scrape
from tests.support.nginx import BALANCER, Nginx, find_nginx
from tests.support.patience import HANG_S, eventually
from tests.support.tcp_relay import TcpRelay
from tests.support.visitors import Visitors

pytestmark = pytest.mark.slow

LIVEZ, PING = Request("GET", "/livez/"), Request("GET", "/ping/")
LOG_IN = Request("POST", "/api/token/", {"username": "ada", "password": "wrong"})
# As a load balancer passes it on: without the scheme the application would refuse it before it reads the body.
BODY = (
    b"POST /api/token/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-Proto: https\r\nContent-Type: application/json\r\n"
    b"Content-Length: 200\r\n\r\n"
)
HEADER = b"GET /livez/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
SHORT = {"proxy_read_timeout": "1s", "client_header_timeout": "1s", "client_body_timeout": "1s"}


@pytest.fixture
def url(transactional_db) -> str:
    find_nginx()
    return database_url()


@pytest.fixture(scope="module")
def shared_url(django_db_setup, django_db_blocker) -> str:
    find_nginx()
    with django_db_blocker.unblock():
        return database_url()


@pytest.fixture(scope="module")
def task(shared_url, tmp_path_factory) -> Iterator[Task]:
    with Task(tmp_path_factory.mktemp("task") / "task", shared_url) as task:
        yield task


@pytest.fixture(scope="module")
def hasty(shared_url, tmp_path_factory) -> Iterator[Task]:
    """A task whose nginx waits for a second where the shipped one waits for ten or thirty."""
    with Task(tmp_path_factory.mktemp("hasty") / "task", shared_url, replacing=SHORT) as task:
        yield task


def ask(address: Address, request: Request, within_s: float = HANG_S) -> Answer:
    """Ask on a connection of its own."""
    with Client(address, token=None, timeout_s=within_s) as client:
        return client.send(request)


def ask_https(address: Address, request: Request) -> Answer:
    """Ask as a load balancer that has ended TLS."""
    with Client(address, token=None) as client:
        client.headers["X-Forwarded-Proto"] = "https"
        return client.send(request)


def is_answered(address: Address, request: Request, within_s: float = HANG_S) -> bool:
    with suppress(NoAnswer):
        return ask(address, request, within_s).status == 200
    return False


@contextmanager
def slow_clients(address: Address, count: int, beginning: bytes, every_s: float) -> Iterator[None]:
    """Keep so many clients that send a beginning and then one byte at a time; one that is cut off comes back."""
    over = threading.Event()
    with ExitStack() as stack:

        def connect() -> socket.socket:
            client = stack.enter_context(socket.create_connection(address, timeout=HANG_S))
            client.sendall(beginning)
            return client

        clients = [connect() for _ in range(count)]

        def dribble() -> None:
            while not over.wait(every_s):
                for number, client in enumerate(clients):
                    try:
                        client.sendall(b"x")
                    except OSError:
                        clients[number] = connect()

        with ThreadPoolExecutor(1) as pool:
            dribbling = pool.submit(dribble)
            try:
                yield
            finally:
                over.set()
            dribbling.result()


class TestSlowClients:
    @pytest.mark.parametrize("beginning", [HEADER, BODY], ids=["header", "body"])
    def test_every_probe_is_answered(self, task, beginning):
        """Sixteen such clients, two for each thread, made two tasks unhealthy before nginx stood in front."""
        with slow_clients(task.address, 16, beginning, every_s=0.1):
            for _ in range(10):
                # The container's check, the load balancer's, and the deployment's.
                assert is_answered(task.app.address, LIVEZ)
                assert is_answered(task.address, LIVEZ)
                assert is_answered(task.address, PING)

    @pytest.mark.long
    @pytest.mark.parametrize("count", [8, 16, 400])
    @pytest.mark.parametrize("through", ["nginx", "gunicorn"])
    def test_for_a_minute(self, task, through, count):
        """One byte in ten seconds. The probes have their own limits of time: 2 s in the container, 5 s outside."""
        target = task.address if through == "nginx" else task.app.address
        probes = {
            "container": (task.app.address, LIVEZ, 2.0),
            "balancer": (target, LIVEZ, 5.0),
            "ping": (target, PING, 5.0),
        }
        answered: Counter[tuple[str, bool]] = Counter()
        with slow_clients(target, count, BODY, every_s=10):
            end = time.monotonic() + HANG_S
            while time.monotonic() < end:
                for name, (address, request, limit_s) in probes.items():
                    answered[name, is_answered(address, request, limit_s)] += 1
                time.sleep(1)

        task.app.wait_until_it_answers()
        print(f"{count} slow clients at {through} for a minute: {dict(answered)}")
        if through == "nginx":
            assert {was for _, was in answered} == {True}
        else:
            assert {was for _, was in answered} == {False}


class TestDeadlines:
    def test_a_request_that_takes_too_long_is_504_in_the_form_of_a_problem(self, hasty):
        stopped = hasty.app.workers()
        for worker in stopped:
            os.kill(worker, signal.SIGSTOP)
        try:
            with Client(hasty.address, token=None) as client:
                late = client.send(Request("POST", "/api/token/?secret=1", LOG_IN.body))
        finally:
            for worker in stopped:
                os.kill(worker, signal.SIGCONT)

        assert (late.status, late.code) == (504, "unavailable")
        assert_problem(late, "/api/token/")
        assert late.headers["retry-after"] == "5"
        assert eventually(lambda: is_answered(hasty.address, PING))

    def test_an_application_that_is_gone_is_502_in_the_form_of_a_problem(self, shared_url, tmp_path):
        with Nginx(tmp_path / "nginx", [("127.0.0.1", 1)]) as nginx:
            gone = ask(nginx.address, LOG_IN)

        assert (gone.status, gone.code) == (502, "unavailable")
        assert_problem(gone, "/api/token/")

    def test_a_body_that_nginx_refuses_is_413_in_the_form_of_a_problem(self, task):
        refused = ask(task.address, Request("POST", "/api/token/", {"username": "x" * 200_000}))

        assert (refused.status, refused.code) == (413, "body_too_large")
        assert_problem(refused, "/api/token/")

    @pytest.mark.parametrize(
        ("beginning", "every_s"), [(HEADER, 0.1), (BODY, None)], ids=["a header in all", "a pause in a body"]
    )
    def test_a_client_that_takes_too_long_is_cut_off(self, hasty, beginning, every_s):
        """A header has its seconds in all, so one that comes byte for byte is cut off; a body may pause as long."""
        with socket.create_connection(hasty.address, timeout=HANG_S) as client, selectors.DefaultSelector() as wait:
            client.sendall(beginning)
            wait.register(client, selectors.EVENT_READ)
            deadline = time.monotonic() + HANG_S
            while not wait.select(HANG_S if every_s is None else every_s):
                assert time.monotonic() < deadline
                with suppress(OSError):
                    client.sendall(b"x")
            with suppress(ConnectionResetError):
                assert b" 200 " not in client.recv(4096)

    def test_one_id_names_a_request_everywhere(self, task):
        """In the response, in nginx's line, in the application's: the client's own, or a new one."""
        sent = "an-id-of-the-client-0123"
        connection_ = http.client.HTTPConnection(*task.address, timeout=HANG_S)
        with ExitStack() as stack:
            stack.callback(connection_.close)
            connection_.request(
                "GET", "/api/v1/users/me/", headers={"X-Request-ID": sent, "X-Forwarded-Proto": "https"}
            )
            assert connection_.getresponse().headers["X-Request-ID"] == sent
        made = ask(task.address, Request("GET", "/api/v1/users/me/")).headers["x-request-id"]

        for each in (sent, made):
            assert eventually(lambda each=each: [line for line in task.app.lines() if line.get("request_id") == each])
            assert eventually(lambda each=each: each in task.nginx.log.read_text())
        assert '"path": "/livez/", "status": 200' not in task.nginx.log.read_text()


def assert_problem(answer: Answer, path: str) -> None:
    """Assert that an answer of nginx has the members of the application's problems."""
    code = answer.body["code"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body == {
        "type": f"urn:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": answer.status,
        "detail": answer.body["detail"],
        "code": code,
        "instance": path,
        "request_id": answer.headers["x-request-id"],
    }


class TestBehindTheBalancer:
    def test_the_application_learns_the_scheme_and_believes_the_balancers_address(self, settings, tmp_path):
        """An address that the client claims itself is never the one that is counted."""
        with ExitStack() as stack:
            echo = stack.enter_context(Echo())
            nginx = stack.enter_context(Nginx(tmp_path / "nginx", [echo.server_address]))
            balancer = stack.enter_context(Nginx(tmp_path / "balancer", [nginx.address], configuration=BALANCER))
            headers = headers_after(balancer.address, source="127.0.0.2", claimed="203.0.113.9")

        assert headers["X-Forwarded-Proto"] == "https"
        assert headers["X-Forwarded-For"] == "203.0.113.9, 127.0.0.2, 127.0.0.1"
        request = RequestFactory().get("/", headers=dict(headers), REMOTE_ADDR="127.0.0.1")
        number = int(ecs_task.environment()["NUM_PROXIES"])
        settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": number}
        assert address_of(request) == "127.0.0.2"

    def test_plain_http_is_refused_and_https_is_served(self, task, tmp_path):
        with Nginx(tmp_path / "balancer", [task.address], configuration=BALANCER) as balancer:
            behind = ask(balancer.address, Request("GET", "/api/v1/users/me/"))

        assert (behind.status, behind.code) == (401, "not_authenticated")
        assert ask(task.address, Request("GET", "/api/v1/users/me/")).code == "https_required"


class Echo(ThreadingHTTPServer):
    """A server that answers with the headers that it got."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Echo)

    def __enter__(self):
        threading.Thread(target=self.serve_forever).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.shutdown()
        self.server_close()


class _Echo(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(dict(self.headers)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def headers_after(address: Address, *, source: str, claimed: str) -> dict[str, str]:
    client = http.client.HTTPConnection(*address, timeout=HANG_S, source_address=(source, 0))
    try:
        client.request("GET", "/", headers={"X-Forwarded-For": claimed, "X-Forwarded-Proto": "http"})
        return json.loads(client.getresponse().read())
    finally:
        client.close()


class Service:
    """Two tasks behind a load balancer, replaced as ECS replaces them."""

    def __init__(self, folder, database_url: str) -> None:
        self._folder, self._url, self._made = folder, database_url, 0

    def _start(self) -> Task:
        self._made += 1
        task = Task(self._folder / f"task-{self._made}", self._url, SIGN_UP_OPEN="true", DRAIN_SECONDS="1")
        return task.__enter__()

    def __enter__(self):
        self.tasks = [self._start(), self._start()]
        self.balancer = Nginx(self._folder / "balancer", self._addresses, configuration=BALANCER)
        self.balancer.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.balancer.__exit__()
        for task in self.tasks:
            task.__exit__()

    @property
    def _addresses(self) -> list[Address]:
        return [task.address for task in self.tasks]

    def deploy(self) -> None:
        """Replace each task: a new one gets requests once it is healthy, then an old one is deregistered and stopped."""
        for old in list(self.tasks):
            new = self._start()
            # The target group's check.
            eventually(lambda new=new: is_answered(new.address, LIVEZ))
            self.tasks.append(new)
            self.balancer.balance(self._addresses)
            self.tasks.remove(old)
            # Deregistered: no new requests, and those in flight end.
            self.balancer.balance(self._addresses)
            assert list(old.stopping()) == ["web", "nginx"]
            assert old.exit_codes == {"web": 0, "nginx": 0}
            assert old.app.complaints() == []
            old.__exit__()


class TestDeployments:
    def test_a_rolling_one_under_load_fails_no_request(self, url, tmp_path, seed):
        with Service(tmp_path, url) as service:
            visitors = Visitors(service.balancer.address, seed)
            with visitors.visiting():
                service.deploy()
                while visitors.requests < 200:
                    time.sleep(0.1)

        print(f"{visitors.requests} requests during a rolling deployment: {dict(visitors.answers)}")
        assert set(visitors.answers) == {200, 201}

    def test_a_stop_answers_what_is_in_flight_and_nginx_ends_last(self, url, tmp_path):
        """All of them wait for gunicorn when the stop begins: its workers stand still until then."""
        count = 12
        sign_ups = [
            Request("POST", "/api/v1/users/", {"username": f"late-{n}", "password": PASSWORD}) for n in range(count)
        ]
        with Task(tmp_path / "task", url, SIGN_UP_OPEN="true", DRAIN_SECONDS="5") as task:
            balancer = Nginx(tmp_path / "balancer", [task.address], configuration=BALANCER)
            with balancer, ThreadPoolExecutor(count) as pool:
                workers = task.app.workers()
                for worker in workers:
                    os.kill(worker, signal.SIGSTOP)
                answers = [pool.submit(ask, balancer.address, each) for each in sign_ups]
                eventually(lambda: waiting(task) == count)
                stopping = task.stopping()
                assert next(stopping) == "web"
                eventually(lambda: [line for line in task.app.lines() if "Draining" in str(line.get("event"))])
                for worker in workers:
                    os.kill(worker, signal.SIGCONT)
                assert not task.nginx.has_ended
                statuses = Counter(each.result().status for each in answers)
                assert next(stopping) == "nginx"
                assert task.app.has_ended
                assert list(stopping) == []

        assert statuses == {201: count}
        assert task.exit_codes == {"web": 0, "nginx": 0}

    def test_nginx_finishes_what_it_has_when_it_is_told_to_stop(self, tmp_path):
        """At SIGTERM itself it would drop the request."""
        arrived, answer = threading.Event(), threading.Event()

        class Slow(_Echo):
            def do_GET(self) -> None:
                arrived.set()
                answer.wait(HANG_S)
                super().do_GET()

        with Echo() as slow, Nginx(tmp_path / "nginx", [slow.server_address]) as nginx, ThreadPoolExecutor(1) as pool:
            slow.RequestHandlerClass = Slow
            asked = pool.submit(ask, nginx.address, PING)
            assert arrived.wait(HANG_S)
            nginx.terminate()
            eventually(lambda: refuses(nginx.address))
            answer.set()
            assert asked.result().status == 200
            assert nginx.exit_code() == 0


def waiting(task: Task) -> float:
    """Return how many connections no worker has accepted yet."""
    return read(scrape(task.app.metrics_address))["app_accept_queue", frozenset()]


def refuses(address: Address) -> bool:
    try:
        socket.create_connection(address).close()
    except ConnectionRefusedError:
        return True
    return False


class TestHealth:
    @pytest.fixture
    def line(self, url) -> Iterator[TcpRelay]:
        """A TCP relay to the test database."""
        of = connection.settings_dict
        port = int(of["PORT"] or 5432)
        target = f"{of['HOST']}/.s.PGSQL.{port}" if of["HOST"].startswith("/") else (of["HOST"], port)
        with TcpRelay(target) as line:
            line.connect()
            yield line

    def test_a_task_that_waits_for_its_database_stays_and_one_that_hangs_is_replaced(self, line, tmp_path):
        """As the target group and the container's check find it, which need ten failures in a row."""
        of, (host, port) = connection.settings_dict, line.address
        user = ":".join(quote(of[name]) for name in ("USER", "PASSWORD") if of[name])
        with Task(tmp_path / "task", f"postgres://{user}@{host}:{port}/{of['NAME']}") as task:
            checks = [(task.address, target_group()), (task.app.address, container())]
            workers = task.app.workers()

            line.refuse()
            with logging_in(task.address):
                for address, check in checks:
                    # Longer than the threshold: a check that asked the database would find it unhealthy twice.
                    assert [is_answered(address, Request("GET", check.path)) for _ in range(2 * check.failures)] == (
                        [True] * 2 * check.failures
                    )
                assert ask(task.address, PING).status == 503
            line.connect()
            eventually(lambda: is_answered(task.address, PING))
            assert task.app.workers() == workers

            for worker in workers:
                os.kill(worker, signal.SIGSTOP)
            try:
                assert [is_unhealthy(address, check) for address, check in checks] == [True, True]
            finally:
                for worker in workers:
                    os.kill(worker, signal.SIGCONT)
            eventually(lambda: is_answered(task.address, LIVEZ))


def is_unhealthy(address: Address, check: Check) -> bool:
    """Return whether every one of as many checks as it takes fails, made at once."""
    request = Request("GET", check.path)
    with ThreadPoolExecutor(check.failures) as pool:
        answered = pool.map(lambda _: is_answered(address, request, check.timeout_s), range(check.failures))
        return not any(answered)


@contextmanager
def logging_in(address: Address) -> Iterator[None]:
    """Keep requests that need the database coming, each answered with 503."""
    over = threading.Event()

    def log_in() -> None:
        while not over.is_set():
            assert ask_https(address, LOG_IN).status == 503

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(log_in) for _ in range(4)]
        try:
            yield
        finally:
            over.set()
        for client in clients:
            client.result()
