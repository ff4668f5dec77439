"""How gunicorn serves the application, in the image and natively; the command line may override."""

import logging
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from apps.core import draining
from apps.core.observability import logs
from config import env as environment
from server import metrics
from server.draining import before_stopping

# In the arbiter, before there are workers: what is wrong is said once, and a secret is read once for all of them.
configured = environment.load_for_server()
# The workers import the module afresh, so that a change to it reloads like any other; the secret is held elsewhere.
del sys.modules["config"].env, sys.modules["config.env"]

bind = f"0.0.0.0:{configured.PORT}"

# Threads, because a request mostly waits for PostgreSQL. Explicit numbers, because in a container the machine's number
# of cores says nothing about the share this process gets. It is gunicorn's gthread, which also tells what waits for one.
worker_class = "server.worker.ThreadWorker"
workers = configured.WEB_CONCURRENCY
threads = configured.GUNICORN_THREADS

# The outermost of a request's limits: lock 2 s < statement 5 s < worker 30 s. A worker that is silent for longer is
# replaced.
timeout = configured.WORKER_TIMEOUT
# Then requests in flight have this long to end: after a SIGTERM it is drain 5 s + graceful 30 s < the platform's grace,
# 45 s, after which it kills. tests/server/test_limits.py holds all of them to their order.
graceful_timeout = 30
# Longer than the 60 s a load balancer keeps an idle connection: the side that reuses it must not find it closed.
keepalive = 75

# What a worker may have leaked is given back after so many requests; the jitter keeps the workers from doing it at once.
max_requests = 10_000
max_requests_jitter = 1_000

# Workers prove that they live by touching a file: in memory, so that a busy disk cannot get one killed.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None

# What an honest client never reaches, refused before Python sees the request (414, 431).
limit_request_line = 4094
limit_request_fields = 50
limit_request_field_size = 8190
# Nobody in front of us says by a header where the application is mounted, so no client can either.
forwarder_headers = ""
# Whether a request came over HTTPS is settled in one place: Django's SECURE_PROXY_SSL_HEADER.
secure_scheme_headers: dict[str, str] = {}

# A second way in that nobody here uses; it also wants a writable home.
control_socket_disable = True

# The workers' numbers, as one: on a port of their own, which the arbiter answers, and on the interface of `bind`.
serve_metrics = metrics.served_by_arbiter(
    port=configured.METRICS_PORT, directory=configured.PROMETHEUS_MULTIPROC_DIR, version=configured.REVISION
)
pre_fork, post_fork = metrics.pre_fork, metrics.post_fork
worker_exit, child_exit = metrics.worker_exit, metrics.child_exit

# The arbiter speaks as the workers do. They log each request themselves, without what gunicorn would add of it.
logconfig_dict = logs.configuration(
    form=configured.LOG_FORMAT, stream="stdout", release=configured.REVISION, environment=configured.name
)
accesslog = None
# Warnings are lines, too.
logging.captureWarnings(capture=True)


def when_ready(server: Any) -> None:
    """Once the arbiter has its sockets and handles signals, before there are workers."""
    for doubt in environment.deployment_warnings(configured):
        server.log.warning(doubt)
    serve_metrics(server)
    if configured.DRAIN_SECONDS:
        before_stopping(server, configured.DRAIN_SECONDS)


def pre_request(_worker: Any, request: Any) -> None:
    """Before each request: while the server drains, its connections end, so that the next request goes elsewhere."""
    if draining.is_on():
        request.force_close()
