"""How gunicorn serves the application, in the image and natively; the command line may override."""

import os
from pathlib import Path

bind = f"0.0.0.0:{os.environ.get('PORT', '8000')}"

# Threads, because a request mostly waits for PostgreSQL. Explicit numbers, because in a container the machine's number
# of cores says nothing about the share this process gets.
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = int(os.environ.get("GUNICORN_THREADS", "4"))

# The outermost of the limits: lock 2 s < statement 5 s < worker 30 s. A worker that is silent for longer is replaced.
timeout = 30
# After SIGTERM requests in flight have this long to end; the platform must wait longer (45 s) before it kills.
graceful_timeout = 30
# Longer than the 60 s a load balancer keeps an idle connection: the side that reuses it must not find it closed.
keepalive = 75

# Workers prove that they live by touching a file: in memory, so that a busy disk cannot get one killed.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None

# What an honest client never reaches, refused before Python sees the request (414, 431).
limit_request_line = 4094
limit_request_fields = 50
limit_request_field_size = 8190
# Nobody in front of us says by a header where the application is mounted, so no client can either.
forwarder_headers = ""

# A second way in that nobody here uses; it also wants a writable home.
control_socket_disable = True

errorlog = "-"
