"""Requests to a live server that runs with production's settings."""

import http.client
import json
from dataclasses import dataclass

from tests.support.patience import HANG_S
from tests.support.server import Server

HOST = "app.example.org"

PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "config.settings.production",
    "SECRET_KEY": "correct-horse-battery-staple-0123456789-abcdefghijklm",
    "ALLOWED_HOSTS": HOST,
    # The database of the tests has no certificate, and in Docker it is over a network.
    "DATABASE_SSLMODE": "disable",
}

HTTPS = {"X-Forwarded-Proto": "https"}

ME = "/api/v1/users/me/"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def code(self) -> str:
        assert self.headers["Content-Type"] == "application/problem+json"
        return json.loads(self.body)["code"]


def ask(server: Server, path: str, method: str = "GET", **headers: str) -> Answer:
    """Ask without following anywhere; `Host` is ours unless it is named."""
    connection = http.client.HTTPConnection(*server.address, timeout=HANG_S)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers={"Host": HOST, **named})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()
