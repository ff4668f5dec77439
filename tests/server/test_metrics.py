"""Hooks by which gunicorn's arbiter serves the workers' metrics; tests/live/test_metrics.py tests the whole server."""

import fcntl
import os
import socket
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from gunicorn.arbiter import Arbiter
from prometheus_client import CollectorRegistry

from server import metrics


def worker() -> SimpleNamespace:
    return SimpleNamespace(aborted=False)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Where the workers keep their files."""
    monkeypatch.setenv(metrics.MULTIPROC_DIR_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def exits(monkeypatch) -> Callable[[], dict[str, int]]:
    """Tell which exits were counted in this test."""
    counted = dict.fromkeys(metrics._exits, 0)
    monkeypatch.setattr(metrics, "_exits", counted)
    return lambda: {reason: count for reason, count in counted.items() if count}


class TestTheStart:
    """What gunicorn's hook refuses."""

    @staticmethod
    def begin(*, port: int, preload: bool = False) -> None:
        listener = SimpleNamespace(sock=SimpleNamespace(getsockname=lambda: ("127.0.0.1", 8000)))
        arbiter = SimpleNamespace(cfg=SimpleNamespace(preload_app=preload), LISTENERS=[listener])
        metrics.metrics_server_hook(port=port, directory="", version="")(arbiter)

    def test_an_application_that_is_loaded_before_there_are_places(self):
        with pytest.raises(SystemExit, match="must not preload"):
            self.begin(port=0, preload=True)

    def test_a_port_that_is_taken(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(SystemExit, match=f"port {port} for metrics is taken .* set METRICS_PORT"):
                self.begin(port=port)


class TestSlots:
    """See Note [Slots]."""

    def test_are_the_lowest_that_no_living_worker_has(self):
        arbiter = SimpleNamespace(WORKERS={})

        def fork(pid: int) -> str:
            new = worker()
            metrics.pre_fork(arbiter, new)
            arbiter.WORKERS[pid] = new
            return new.slot

        assert [fork(pid) for pid in (10, 11, 12)] == ["0", "1", "2"]
        del arbiter.WORKERS[11]
        assert [fork(pid) for pid in (13, 14)] == ["1", "3"]

    def test_are_known_to_the_worker_who_has_one(self, monkeypatch):
        monkeypatch.setattr(metrics, "_slot", "arbiter")

        metrics.post_fork(SimpleNamespace(), SimpleNamespace(slot="7"))

        assert metrics._slot == "7"


class TestExits:
    @pytest.fixture
    def forked(self, files):
        new = worker()
        metrics.pre_fork(SimpleNamespace(WORKERS={}), new)
        return new

    def test_one_that_says_good_bye_is_orderly(self, forked, exits):
        metrics.worker_exit(None, forked)
        metrics.child_exit(None, forked)

        assert exits() == {"exit": 1}

    def test_one_that_does_not_was_killed(self, forked, exits):
        metrics.child_exit(None, forked)

        assert exits() == {"signal": 1}

    @pytest.mark.parametrize("says_good_bye", [True, False])
    def test_one_that_gunicorn_found_silent_is_a_timeout_however_it_then_ends(self, forked, exits, says_good_bye):
        """By gunicorn's own hand, for the mark it leaves is no API."""
        silent = SimpleNamespace(last_update=lambda: time.monotonic() - 31)
        forked.tmp = silent
        arbiter = SimpleNamespace(
            timeout=30,
            WORKERS={10: forked},
            log=SimpleNamespace(critical=lambda *_: None),
            kill_worker=lambda *_: None,
        )
        Arbiter.murder_workers(arbiter)

        if says_good_bye:
            metrics.worker_exit(None, forked)
        metrics.child_exit(None, forked)

        assert exits() == {"timeout": 1}

    def test_take_the_gauges_of_the_living_along_and_nothing_else(self, forked, exits, files):
        kept = {"counter_0.db", "histogram_0.db", "gauge_mostrecent_0.db", "gauge_livesum_1.db"}
        for name in [*kept, "gauge_livesum_0.db"]:
            (files / name).touch()

        metrics.child_exit(None, forked)

        assert {file.name for file in files.iterdir()} == kept


class TestDirectories:
    @pytest.fixture
    def memory(self, tmp_path, monkeypatch):
        monkeypatch.setattr(metrics, "SHARED_MEMORY", tmp_path)
        return tmp_path

    @staticmethod
    def of_a_server(memory, name: str):
        """Return a directory as a server makes it, and its lock."""
        directory = memory / f"{metrics.DIRECTORY_PREFIX}{name}"
        directory.mkdir()
        (directory / "counter_0.db").touch()
        lock = os.open(directory / metrics.LOCK_FILE, os.O_RDWR | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return directory, lock

    def test_of_servers_that_are_no_more_are_swept_and_of_the_living_are_not(self, memory):
        dead, lock = self.of_a_server(memory, "dead")
        os.close(lock)
        alive, lock = self.of_a_server(memory, "alive")
        # One is being made: it has no lock by that name yet.
        begun = memory / f"{metrics.DIRECTORY_PREFIX}begun"
        begun.mkdir()
        others = memory / "of-somebody-else"
        others.mkdir()
        (others / metrics.LOCK_FILE).touch()

        made = metrics._create_directory()

        os.close(lock)
        assert not dead.exists()
        assert (alive / "counter_0.db").exists()
        assert begun.exists()
        assert others.exists()
        assert made.parent == memory
        assert [file.name for file in made.iterdir()] == [metrics.LOCK_FILE]

    def test_that_are_made_are_held(self, memory):
        first = metrics._create_directory()

        second = metrics._create_directory()

        assert first.exists()
        assert second != first

    def test_that_are_given_are_emptied_once_and_refused_to_a_second_server(self, tmp_path):
        given = tmp_path / "given"
        given.mkdir()
        (given / "counter_0.db").touch()
        (given / "notes.txt").touch()

        assert metrics._claim_directory(given) == given

        assert {file.name for file in given.iterdir()} == {"notes.txt", metrics.LOCK_FILE}
        with pytest.raises(
            SystemExit, match=f"{given} is in use by another server: set {metrics.MULTIPROC_DIR_VARIABLE}"
        ):
            metrics._claim_directory(given)


class TestTheArbitersOwn:
    def test_are_what_only_it_knows(self, exits, monkeypatch):
        waiting = SimpleNamespace(get_backlog=lambda: 3)
        silent = SimpleNamespace(get_backlog=lambda: -1)
        arbiter = SimpleNamespace(
            WORKERS={os.getpid(): worker(), 2**22 + 1: worker()},
            num_workers=3,
            cfg=SimpleNamespace(threads=8),
            LISTENERS=[waiting, silent, waiting],
        )
        metrics._exits["timeout"] = 2
        registry = CollectorRegistry()
        registry.register(metrics.ArbiterCollector(arbiter, "0123abcd"))

        value = registry.get_sample_value
        assert [value(f"app_{name}") for name in ("workers", "workers_wanted", "threads", "accept_queue")] == [
            2,
            3,
            16,
            6,
        ]
        assert [value("app_worker_exits_total", {"reason": each}) for each in ("exit", "signal", "timeout")] == [
            0,
            0,
            2,
        ]
        assert value("app_build_info", {"version": "0123abcd"}) == 1
        # Its own twice, and of one that has just ended none.
        assert value("app_resident_memory_bytes") > 1_000_000
        assert time.time() - value("app_start_time_seconds") < 60

    def test_leave_out_a_queue_that_the_system_does_not_tell(self, exits):
        closed = SimpleNamespace()
        arbiter = SimpleNamespace(WORKERS={}, num_workers=1, cfg=SimpleNamespace(threads=1), LISTENERS=[closed])
        registry = CollectorRegistry()

        registry.register(metrics.ArbiterCollector(arbiter, ""))

        assert registry.get_sample_value("app_accept_queue") is None
