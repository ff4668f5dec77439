"""The cloud that a deployment works in: registry, lock and logs on moto, ECS that keeps state, and the pages it serves."""

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from deploy import deploy
from deploy.images import Registry
from deploy.lock import Lock, Schema
from deploy.target import Target
from deploy.tasks import Tasks
from tests.support import fake_aws
from tests.support.fake_aws import COMMIT
from tests.support.fake_ecs import FakeEcs
from tests.support.paths import ROOT


class Cloud:
    """The services that a deployment calls, and the pages that it requests."""

    def __init__(self, registry: Registry, ecr: Any, ecs: FakeEcs) -> None:
        self.registry, self.ecr, self.ecs = registry, ecr, ecs
        self.target = json.loads((ROOT / "deploy/ecs/example.json").read_text())
        self.target |= {"repository": registry.uri, "service": "app", "cluster": "app"}
        self.pages = {
            "/ping/": [(200, {"pong": True, "db": "ok"})],
            "/livez/": [(200, {"status": "ok", "version": COMMIT})],
        }
        # Pairs of a commit and one before it.
        self.history: set[tuple[str, str]] = set()
        self.logs, self.locks = fake_aws.client_of("logs"), fake_aws.client_of("dynamodb")
        self.logs.create_log_group(logGroupName="/ecs/app-staging")
        self.locks.create_table(
            TableName=self.target["lock_table"],
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        )

    def lock(self, holder: str) -> Lock:
        return Lock(client=self.locks, table=self.target["lock_table"], holder=holder)

    @property
    def schema(self) -> Schema:
        return Schema(client=self.locks, table=self.target["lock_table"])

    def clients(self, target: Target) -> deploy.Clients:
        ecs = self.ecs
        return deploy.Clients(
            registry=self.registry,
            ecs=ecs.client,
            tasks=Tasks(
                ecs=ecs.client,
                logs=self.logs,
                cluster=target.cluster,
                log_group=target.log_group,
                started_by="ours",
                sleep=ecs.sleep,
                now=ecs.now,
            ),
            lock=self.lock("ours"),
            schema=self.schema,
            get=deploy.get,
            contains=lambda commit, earlier: (commit, earlier) in self.history,
            sleep=ecs.sleep,
            now=ecs.now,
        )

    def write_log(self, container: str, *lines: str) -> None:
        """Write the log of the first task."""
        stream = {"logGroupName": "/ecs/app-staging", "logStreamName": f"ecs/{container}/0001"}
        self.logs.create_log_stream(**stream)
        moment = int(time.time() * 1000)
        self.logs.put_log_events(**stream, logEvents=[{"timestamp": moment, "message": line} for line in lines])

    @property
    def deployment(self) -> str:
        """The variable DEPLOYMENT."""
        return json.dumps(self.target)

    @property
    def is_locked(self) -> bool:
        return "Item" in self.locks.get_item(TableName=self.target["lock_table"], Key={"id": {"S": "deployment"}})


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with fake_aws.registry() as (registry, ecr), FakeEcs() as ecs:
        cloud = Cloud(registry, ecr, ecs)
        fake_aws.push(ecr, f"sha-{COMMIT}")
        with served(cloud.pages) as cloud.target["url"]:
            yield cloud


@contextlib.contextmanager
def served(pages: dict[str, list[tuple[int, Any]]]) -> Iterator[str]:
    """Serve the pages during the block; yield the URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # The last response repeats.
            answers = pages[self.path]
            status, body = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(status)
            self.send_header("Location", "/elsewhere/")
            self.end_headers()
            self.wfile.write(b"<html>" if body is None else json.dumps(body).encode())

        def log_message(self, *arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
