"""gunicorn's threaded worker, which also tells how long a request waits for a thread.

A worker takes whatever connects (up to gunicorn's `worker_connections`) and queues it before its threads, so a wait shows
neither in the kernel's queue nor in the time of a request, which begins when a thread has it.

Note [A worker's last step]
When Python has joined a thread, the system may not have ended it yet; and OpenSSL 3.0 (hashlib's) cleans up in a C exit
handler, which then may wait for ever for a lock of that thread (seen as `OPENSSL_cleanup` in `OPENSSL_thread_stop`, after
3 of 14 reloads on a busy machine). gunicorn would wait for `graceful_timeout`, and kill. So a worker that has ended in
order does without C's exit handlers, once Python's have run.
"""

import atexit
import logging
import os
import time
from typing import Any, Final

from gunicorn.workers import gthread  # type: ignore[import-untyped]  # it ships no types
from prometheus_client import Gauge, Histogram

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class ThreadWorker(gthread.ThreadWorker):  # type: ignore[misc]  # it ships no types
    """gunicorn's own, with a clock between its queue and its threads."""

    reloader: Any
    _has_ended_in_order = False

    def init_process(self) -> None:
        # Before the application registers something: what is registered first runs last.
        atexit.register(self._leave)
        # Here and not above: the arbiter reads this module too, and before its workers have places to count in.
        self._waiting = Gauge(
            "bank_requests_waiting",
            "Requests that a worker has accepted and no thread has begun with.",
            multiprocess_mode="livesum",
        )
        self._waits = Histogram("bank_thread_wait_seconds", "Time that a request waited for a thread.", buckets=BUCKETS)
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the application; what cannot be loaded ends the server, unless it reloads."""
        if not self.cfg.reload:
            super().load_wsgi()
            return
        from server import reloader  # noqa: PLC0415  on laptops only

        # Before the application is loaded: what changes meanwhile is a change.
        self.reloader = reloader.SourceWatcher(self.reloader._callback)  # noqa: SLF001  gunicorn's own way to end a worker
        self.wsgi = reloader.load(self.app, self.log)

    def run(self) -> None:
        """Serve until the arbiter says stop, and finish what is in progress."""
        super().run()
        self._has_ended_in_order = True

    def _leave(self) -> None:
        """See Note [A worker's last step]. A worker that failed leaves by Python's way, which keeps its exit code."""
        if self._has_ended_in_order:
            logging.shutdown()
            os._exit(0)

    def enqueue_req(self, conn: Any) -> None:
        """Queue a connection that has something to read; on the worker's main thread."""
        conn.queued_at = time.monotonic()
        self._waiting.inc()
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """Read and answer; on the thread that has become free."""
        self._waiting.dec()
        self._waits.observe(time.monotonic() - conn.queued_at)
        return super().handle(conn)
