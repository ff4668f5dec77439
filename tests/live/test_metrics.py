"""Metrics of a server as Prometheus scrapes them: from their own port, while workers come and go."""

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.apps import apps
from prometheus_client.parser import text_string_to_metric_families

from apps.core.creation import CreatedOnce
from tests.support.client import Client, NoAnswer, Request, once
from tests.support.databases import database_url
from tests.support.metrics_endpoint import read, scrape
from tests.support.paths import ROOT
from tests.support.patience import HANG_S, eventually
from tests.support.server import Server

pytestmark = pytest.mark.slow

DOCS = ROOT / "docs"
# The application's page, and one for each app that has metrics of its own.
PAGES = [DOCS / "metrics.md", *DOCS.glob("*/metrics.md")]
# What our metrics' names begin with: one for the application, and one for each such app.
OURS = "|".join(["app", *(page.parent.name for page in PAGES[1:])])


@pytest.fixture(scope="module")
def fresh(django_db_setup, django_db_blocker, tmp_path_factory):
    """A server that got no request but /ping/, and its first scrape."""
    log = tmp_path_factory.mktemp("gunicorn") / "log"
    with django_db_blocker.unblock():
        url = database_url()
    with Server(url, log, workers=2, threads=2, REVISION="f" * 40) as server:
        yield server, scrape(server.metrics_address)


IN_PROGRESS, WAITING = "app_requests_in_progress", "app_requests_waiting"


def value(server: Server, name: str, **labels: str) -> float:
    """Scrape one number; 0 where it is absent, as a gauge is while no worker lives."""
    values = read(scrape(server.metrics_address))
    return values.get((name, frozenset(labels.items())), 0.0)


@contextlib.contextmanager
def occupied(server: Server, *, threads: int) -> Iterator[int]:
    """Keep that many threads busy during the block; how many connections it took, for a worker takes more than it has."""
    with contextlib.ExitStack() as stuck:
        connections = 0
        while value(server, IN_PROGRESS) < threads:
            connection = stuck.enter_context(socket.create_connection(server.address, timeout=HANG_S))
            # The body never comes: the thread that reads it waits.
            connection.sendall(
                b"POST /api/token/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: 9\r\n\r\n"
            )
            connections += 1
            time.sleep(0.05)
        yield connections


def declared() -> dict[str, tuple[str, dict[str, set[str]]]]:
    """Read the pages: for each name of ours its type and its labels' values, none where the page has no list of them."""
    rows = [
        [cell.strip() for cell in line.split("|")]
        for page in PAGES
        for line in page.read_text().splitlines()
        if re.match(rf"\| `({OURS})_", line)
    ]
    return {
        name.strip("`"): (
            kind,
            {
                label: set(re.findall(r"`([^`]+)`", values))
                for label, values in re.findall(r"`(\w+)`(?:: ([^;]*))?(?:;|$)", labels)
            },
        )
        for _, name, kind, labels, *_ in rows
    }


def test_every_series_of_the_page_is_there_before_the_first_request_and_no_other(fresh):
    _, text = fresh
    told = {
        (family.name + "_total" if family.type == "counter" else family.name): family
        for family in text_string_to_metric_families(text)
        if re.match(rf"({OURS})_", family.name)
    }

    page = declared()
    if not any(issubclass(model, CreatedOnce) and model.__module__.startswith("apps.") for model in apps.get_models()):
        # Its labels are the models that an app creates under a key.
        del page["app_idempotent_replays_total"]
    assert told.keys() == page.keys()
    for name, (kind, labels) in page.items():
        family = told[name]
        assert family.type == kind
        seen: dict[str, set[str]] = {}
        for sample in family.samples:
            for label, value in sample.labels.items():
                if label != "le":
                    seen.setdefault(label, set()).add(value)
        assert seen.keys() == labels.keys(), name
        assert seen == {label: values or seen[label] for label, values in labels.items()}, name


def test_the_public_port_knows_nothing_of_metrics(fresh):
    server, _ = fresh
    with Client(server.address, token=None) as client:
        answer = client.send(Request("GET", "/metrics"))

    assert (answer.status, answer.code) == (404, "not_found")
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_client_cannot_make_up_a_label(fresh):
    server, _ = fresh
    with Client(server.address, token=None) as client:
        for number in range(5):
            client.send(Request(f"VERB{number}", f"/invented-{number}/"))
            client.send(Request("GET", f"/invented-{number}/?a={number}"))

    text = scrape(server.metrics_address)

    assert "VERB" not in text
    assert "invented" not in text
    unknown = {"view": "apps.core.problem.not_found", "status": "404", "method": "GET"}
    assert read(text)["django_http_responses_total_by_status_view_method_total", frozenset(unknown.items())] >= 5


def test_probes_are_counted_apart(fresh):
    server, _ = fresh
    requests = ("django_http_requests_before_middlewares_total", frozenset())
    livez = ("app_probes_total", frozenset({("probe", "livez"), ("status", "200")}))
    before = read(scrape(server.metrics_address))

    with Client(server.address, token=None) as client:
        client.send(Request("GET", "/livez/"))

    after = read(scrape(server.metrics_address))
    assert (after[livez] - before[livez], after[requests] - before[requests]) == (1, 0)


def test_names_and_types_are_as_prometheus_wants_them(fresh):
    promtool = shutil.which("promtool")
    if promtool is None:
        assert "CI" not in os.environ, "promtool is missing"  # noqa: TID251  whether skipping is allowed
        pytest.skip("promtool (Debian: prometheus) is not in the PATH")
    _, text = fresh
    ours = "".join(line for line in text.splitlines(keepends=True) if re.match(rf"(# (HELP|TYPE) )?({OURS})_", line))

    told = subprocess.run([promtool, "check", "metrics"], input=ours, capture_output=True, text=True, check=False)

    assert (told.returncode, told.stdout + told.stderr) == (0, "")


def test_a_taken_port_ends_the_start_and_is_named(django_db_setup, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = Server("postgres://nobody@127.0.0.1/app_test", tmp_path / "log", workers=1, threads=1)
        server._environment["METRICS_PORT"] = str(port)
        with pytest.raises(AssertionError, match=f"port {port} for metrics is taken .* set METRICS_PORT"), server:
            pass
    assert server._process.returncode == 1


def test_metrics_answer_while_every_thread_is_taken_and_forget_the_requests_of_the_killed(
    django_db_setup, django_db_blocker, tmp_path
):
    with django_db_blocker.unblock():
        url = database_url()
    with Server(url, tmp_path / "log", workers=2, threads=2) as server:
        with occupied(server, threads=4):
            # As many as there are threads, and never more.
            assert value(server, IN_PROGRESS) == 4
            for pid in server.workers():
                os.kill(pid, signal.SIGKILL)
        eventually(lambda: value(server, IN_PROGRESS) == 0)
        eventually(lambda: value(server, "app_worker_exits_total", reason="signal") == 2)


def test_what_waits_for_a_thread_is_told_and_then_for_how_long(fresh):
    server, _ = fresh

    def waited_long() -> float:
        """Return how many have waited longer than a quarter of a second."""
        waits = read(scrape(server.metrics_address))
        short = waits["app_thread_wait_seconds_bucket", frozenset({("le", "0.25")})]
        return waits["app_thread_wait_seconds_count", frozenset()] - short

    with ThreadPoolExecutor(1) as pool:
        with occupied(server, threads=4) as connections:
            probe = pool.submit(once, server.address, None, Request("GET", "/livez/"))
            eventually(lambda: value(server, WAITING) == connections - 4 + 1)
            # From here on nothing begins before the block ends.
            before = waited_long()
            time.sleep(0.3)
            assert (probe.done(), waited_long()) == (False, before)
        assert probe.result().status == 200

    # Those that waited too have their turn.
    eventually(lambda: value(server, WAITING) == 0)
    assert waited_long() > before


@pytest.mark.parametrize("seconds", [4, pytest.param(60, marks=pytest.mark.long)])
def test_counts_are_exact_while_workers_are_killed_and_reloaded(
    django_db_setup, django_db_blocker, tmp_path, seed, seconds
):
    """Each request is counted once, whichever worker dies; one whose connection broke may have been counted before."""
    counted = ("django_http_responses_before_middlewares_total", frozenset())
    chance = random.Random(seed)
    answered, unanswered, scrapes = [0] * 4, [0] * 4, 0
    done = threading.Event()
    with django_db_blocker.unblock():
        url = database_url()
    with Server(url, tmp_path / "log", workers=3, threads=4) as server:

        def ask(number: int) -> None:
            with Client(server.address, token=None, timeout_s=HANG_S) as client:
                while not done.is_set():
                    try:
                        assert client.send(Request("GET", "/nothing-here/")).status == 404
                        answered[number] += 1
                    except NoAnswer:
                        unanswered[number] += 1

        before = read(scrape(server.metrics_address))
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        start = time.monotonic()
        next_kill, next_reload, kills, enough = 0.7, 2.5, 0, 0
        while (elapsed := time.monotonic() - start) < seconds or not (kills and sum(answered)):
            assert elapsed < seconds + HANG_S
            # On a slow machine workers would else be killed before they served anything.
            if elapsed > next_kill and sum(answered) >= enough and (alive := server.workers()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chance.choice(alive), signal.SIGKILL)
                next_kill, kills, enough = elapsed + 0.7, kills + 1, sum(answered) + 20
            if elapsed > next_reload and sum(answered) >= enough:
                server.reload()
                next_reload = elapsed + 2.5
            now = read(scrape(server.metrics_address))
            for series, value in before.items():
                if series[0].endswith(("_total", "_bucket", "_count")):
                    assert now[series] >= value, series
            before, scrapes = now, scrapes + 1
            time.sleep(0.03)
        done.set()
        for thread in threads:
            thread.join()
        count = read(scrape(server.metrics_address))[counted]

    print(f"{count:.0f} counted, {sum(answered)} answered, {sum(unanswered)} cut off, {kills} kills, {scrapes} scrapes")
    assert sum(answered) <= count <= sum(answered) + sum(unanswered)
    assert server._process.returncode == 0


def test_a_replaced_worker_continues_the_files_of_the_one_before(django_db_setup, django_db_blocker, tmp_path, seed):
    """However many workers are killed, one at a time, the files stay those of the first workers."""
    chance = random.Random(seed)
    files = tmp_path / "files"
    with django_db_blocker.unblock():
        url = database_url()
    with Server(url, tmp_path / "log", workers=3, threads=4, PROMETHEUS_MULTIPROC_DIR=str(files)) as server:
        with Client(server.address, token=None, timeout_s=HANG_S) as client:
            for _ in range(6):
                eventually(lambda: len(server.workers()) == 3)
                os.kill(victim := chance.choice(server.workers()), signal.SIGKILL)
                eventually(lambda gone=victim: gone not in server.workers() and len(server.workers()) == 3)
                with contextlib.suppress(NoAnswer):
                    client.send(Request("GET", "/nothing-here/"))
        assert {file.stem.rpartition("_")[2] for file in files.glob("*.db")} == {"0", "1", "2"}
