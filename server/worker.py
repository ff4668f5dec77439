"""gunicorn's threaded worker, with metrics of how long a request waits for a thread.

A worker accepts connections (up to gunicorn's `worker_connections`) and queues them for its threads, so the wait shows
neither in the kernel's queue nor in the duration of a request, which begins when a thread takes it.

Note [C exit handlers]
When Python has joined a thread, the system may not have ended it yet; and OpenSSL 3.0 (hashlib's) cleans up in a C exit
handler, which then may wait for ever for a lock of that thread (seen as `OPENSSL_cleanup` in `OPENSSL_thread_stop`, after
3 of 14 reloads on a busy machine). gunicorn would wait for `graceful_timeout`, and kill. A worker that stopped cleanly
therefore calls os._exit() after Python's atexit handlers. Not needed once the image's OpenSSL is newer than 3.0.
"""

import atexit
import logging
import os
import time
from concurrent import futures
from typing import Any, Final

from gunicorn.workers import gthread  # type: ignore[import-untyped]  # it ships no types
from prometheus_client import Gauge, Histogram

# As long as connecting to one silent host takes. The arbiter waits for a worker for longer.
FIRST_CONNECTION_TIMEOUT_S: Final = 2.0
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class ThreadWorker(gthread.ThreadWorker):  # type: ignore[misc]  # it ships no types
    """gunicorn's own, which measures the time between its queue and its threads."""

    reloader: Any
    _stopped_cleanly = False

    def init_process(self) -> None:
        # Before the application registers handlers: the first to be registered runs last.
        atexit.register(self._skip_c_exit_handlers)
        # Not at module level: the arbiter imports this module, too, before its workers have slots for metrics.
        self._waiting = Gauge(
            "app_requests_waiting",
            "Requests that a worker has accepted and no thread has begun with.",
            multiprocess_mode="livesum",
        )
        self._waits = Histogram("app_thread_wait_seconds", "Time that a request waited for a thread.", buckets=BUCKETS)
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the application; an error ends the server, unless it reloads."""
        if not self.cfg.reload:
            super().load_wsgi()
            return
        from server import reloader  # noqa: PLC0415  on laptops only

        # Before the application is loaded, so that a change meanwhile is noticed.
        self.reloader = reloader.SourceWatcher(self.reloader._callback)  # noqa: SLF001  gunicorn's own way to end a worker
        self.wsgi = reloader.load(self.app, self.log)

    def connect_to_database(self) -> None:
        """Open the connection of the thread that takes the first request; without a database the worker serves, too."""
        from django.db import connection  # noqa: PLC0415  the arbiter has no application

        def connect() -> None:
            connection.ensure_connection()

        # Its error is counted with the connections, and the first request tries again.
        futures.wait([self.tpool.submit(connect)], timeout=FIRST_CONNECTION_TIMEOUT_S)

    def run(self) -> None:
        """Serve until the arbiter stops the worker, and finish the requests in progress."""
        super().run()
        self._stopped_cleanly = True

    def _skip_c_exit_handlers(self) -> None:
        """See Note [C exit handlers]. A worker that failed exits normally, which keeps its exit code."""
        if self._stopped_cleanly:
            logging.shutdown()
            os._exit(0)

    def enqueue_req(self, conn: Any) -> None:
        """Queue a connection that is ready to read; on the worker's main thread."""
        conn.queued_at = time.monotonic()
        self._waiting.inc()
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """Read the request and respond; on the thread that has become free."""
        self._waiting.dec()
        self._waits.observe(time.monotonic() - conn.queued_at)
        return super().handle(conn)
