"""How gunicorn serves the API, in production and on a laptop; each value with its reason."""

import os
from pathlib import Path

bind = f"0.0.0.0:{os.environ.get('PORT', '8000')}"

# Threads wait for the database side by side; processes use the cores. Explicit: the host's CPU count says nothing about
# what a container may use. Every thread holds one database connection.
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = int(os.environ.get("GUNICORN_THREADS", "4"))

# lock 2 s < statement 5 s < worker 30 s < the platform's grace: whoever is further out waits longer.
timeout = 30
graceful_timeout = 30

# The heartbeat file on a disk can stall a healthy worker.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None

# It would listen on a socket that nothing here uses.
control_socket_disable = True

# A request line and headers larger than any client of an API sends (apps.core.guards bounds the body).
limit_request_line = 4094
limit_request_fields = 50
limit_request_field_size = 8190

# Django logs what matters; an access line for each probe does not.
accesslog = None
errorlog = "-"
