"""gunicorn's configuration, in the image and natively; the command line may override it."""

import logging
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from apps.core import draining
from apps.core.observability import logs
from config import env as environment
from server import metrics
from server.draining import drain_before_stop

# In the arbiter, before the workers start: problems are printed once, and a secret is read once for all of them.
try:
    env = environment.load_for_server()
except environment.ConfigurationError as error:
    # gunicorn prints a traceback for an Exception.
    sys.exit(str(error))

bind = f"0.0.0.0:{env('PORT')}"

# Threads, because a request mostly waits for PostgreSQL. Explicit numbers, because in a container the machine's number
# of cores is not the share this process gets. It is gunicorn's gthread with metrics of the wait for a thread.
worker_class = "server.worker.ThreadWorker"
workers = env("WEB_CONCURRENCY")
threads = env("GUNICORN_THREADS")

# A worker whose main thread is silent for so long is replaced. A thread may be busy, or read from a slow client, for longer:
# a request's limits are lock 2 s < statement 5 s < the proxy's 30 s (docker/nginx/nginx.conf), all within this order.
timeout = env("WORKER_TIMEOUT")
# Then requests in flight have this long to end: after a SIGTERM it is drain 5 s + graceful 30 s < the platform's grace,
# 45 s, after which it kills. tests/server/test_limits.py holds all of them to their order.
graceful_timeout = 30
# Longer than the 60 s a load balancer keeps an idle connection: the side that reuses it must not find it closed.
keepalive = 75

# A worker is replaced after so many requests, to free leaked memory; the jitter keeps workers from restarting at once. At
# two hundred requests a second that is about every forty minutes.
max_requests = 500_000
max_requests_jitter = 50_000

# Workers touch a file as their heartbeat: in memory, so that a busy disk cannot get one killed.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None

# Limits above any real client's requests; gunicorn itself responds with 414 or 431.
limit_request_line = 4094
limit_request_fields = 50
limit_request_field_size = 8190
# No proxy of ours sets the mount point by a header, so no client may.
forwarder_headers = ""
# One place decides whether a request came over HTTPS: Django's SECURE_PROXY_SSL_HEADER.
secure_scheme_headers: dict[str, str] = {}

# Not used here; it also needs a writable home directory.
control_socket_disable = True

# The arbiter serves the sum of the workers' metrics on a port of its own, on the interface of `bind`.
serve_metrics = metrics.metrics_server_hook(
    port=env("METRICS_PORT"), directory=env("PROMETHEUS_MULTIPROC_DIR"), version=env("REVISION")
)
pre_fork, post_fork = metrics.pre_fork, metrics.post_fork
worker_exit, child_exit = metrics.worker_exit, metrics.child_exit

# The arbiter logs in the workers' format. The workers log each request, so there is no access log.
logconfig_dict = logs.configuration(
    log_format=env("LOG_FORMAT"),
    stream="stdout",
    release=env("REVISION"),
    environment=env.name,
)
accesslog = None
# Python's warnings become log lines.
logging.captureWarnings(capture=True)


def when_ready(server: Any) -> None:
    """Run in the arbiter once it has its sockets and signal handlers, before the workers start."""
    for warning in environment.deployment_warnings(env):
        server.log.warning(warning)
    serve_metrics(server)
    if drain_s := env("DRAIN_SECONDS"):
        drain_before_stop(server, drain_s)


def post_worker_init(worker: Any) -> None:
    """Run in a worker that has loaded the application, before it takes a request."""
    worker.connect_to_database()


def pre_request(_worker: Any, request: Any) -> None:
    """Close the connection after each request while the server drains, so that the next request goes elsewhere."""
    if draining.is_on():
        request.force_close()
