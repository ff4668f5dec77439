"""Warm start: each worker has its first connection before a request comes, at every start, reload and replacement."""

import os
import signal

import pytest
from django.db import connection

from tests.support.databases import database_url
from tests.support.patience import eventually
from tests.support.server import Server

pytestmark = pytest.mark.slow

WORKERS = 2
SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'warm'"


def sessions() -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute(SESSIONS)
        return {pid for (pid,) in cursor.fetchall()}


def are_connected(server: Server, *, instead_of: set[int]) -> bool:
    """Return whether each worker has two connections, of the first thread and of the probes, and none of these is left."""
    found = sessions()
    return len(server.workers()) == WORKERS and len(found) == 2 * WORKERS and not found & instead_of


@pytest.mark.django_db(transaction=True)
def test_workers_connect_before_their_first_request(tmp_path):
    url = f"{database_url()}?application_name=warm"
    server = Server(url, tmp_path / "log", workers=WORKERS, threads=2)
    server.launch()
    try:
        eventually(lambda: are_connected(server, instead_of=set()))
        first, workers = sessions(), server.workers()

        server.reload()
        eventually(lambda: not set(workers) & set(server.workers()) and are_connected(server, instead_of=first))

        # As when max_requests are over.
        workers = server.workers()
        os.kill(workers[0], signal.SIGTERM)
        eventually(lambda: workers[0] not in server.workers() and are_connected(server, instead_of=set()))
        assert server.complaints() == []
    finally:
        server.__exit__()
