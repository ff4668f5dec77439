"""Sentry server for tests: it takes envelopes and keeps them as text and as events."""

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class SentryServer:
    """A server at `dsn`. received: each request as it came, headers and envelope, to be searched."""

    def __init__(self) -> None:
        sink = self
        self.received: list[str] = []
        self.items: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["Content-Encoding"] == "gzip"
                sink._take(self.path + str(self.headers), gzip.decompress(body).decode())
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def dsn(self) -> str:
        return f"http://public@127.0.0.1:{self._server.server_port}/1"

    def events(self) -> list[dict[str, Any]]:
        return [item for item in self.items if item.get("type") != "transaction"]

    def transactions(self) -> list[dict[str, Any]]:
        return [item for item in self.items if item.get("type") == "transaction"]

    def _take(self, head: str, envelope: str) -> None:
        self.received.append(f"{head}\n{envelope}")
        lines = envelope.splitlines()
        for header, payload in zip(lines[1::2], lines[2::2], strict=True):
            if json.loads(header)["type"] in {"event", "transaction"}:
                self.items.append(json.loads(payload))

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
