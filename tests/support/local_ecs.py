"""ECS on this machine: its state is FakeEcs's, and a task is a process of the application, run by its definition.

`Front` speaks ECS's protocol. What it does not know (clusters, task definitions, tags) it passes on to moto, whose other
services hold the images, secrets, logs and databases that the tasks are made of. `Balancer` serves what the services run.
"""

import contextlib
import copy
import http.client
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3

from tests.support import aws
from tests.support.fake_ecs import FakeEcs
from tests.support.paths import ROOT
from tests.support.patience import HANG_S
from tests.support.rds import Rds

OURS = {"RunTask", "DescribeTasks", "StopTask", "ListTasks", "UpdateService", "DescribeServices"}
TARGET = "AmazonEC2ContainerServiceV20141113"
# An answer must come before the client's patience (deploy/images.py) ends.
ANSWER_S = 10


class LocalEcs(FakeEcs):
    """One service and its tasks; `definitions` are the account's."""

    def __init__(self, name: str, service: Mapping[str, Any], account: "Account") -> None:
        super().__init__(name)
        self.account = account
        self.definitions = account.definitions
        # Nothing takes a time of its own: what takes long are the processes.
        self.rollout_s = 0
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.web: Web | None = None
        self._rollout = self._background(lambda: None)
        self.service |= {
            "taskDefinition": service["taskDefinition"],
            "desiredCount": service["desiredCount"],
            "networkConfiguration": service["networkConfiguration"],
        }
        self._stable = service["taskDefinition"]
        self._history.clear()
        self._remember()

    def answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """Carry an operation out; names may be ARNs, and questions may ask for more."""
        short = {key: request[key] for key in request if key != "include"}
        short |= {"cluster": self.name}
        if "services" in short:
            short["services"] = [self.name]
        if "service" in short:
            short["service"] = self.name
        self.calls.append((operation, copy.deepcopy(short)))
        return self._carry_out(operation, short)

    def roll_out(self, arn: str) -> None:
        """Replace the process that serves, if the new one becomes healthy."""
        super().roll_out(arn)
        self._rollout = self._background(self._replace, arn)

    def _replace(self, arn: str) -> None:
        try:
            started = Web(self.account, self.name, self.definitions[arn])
        except AssertionError as error:
            print(error)
            self.broken.add(arn.rpartition("/")[2])
            return
        if self.web is not None:
            self.web.stop()
        self.web = started

    def _settle(self) -> None:
        self._rollout.join(ANSWER_S)
        if not self._rollout.is_alive():
            super()._settle()

    @staticmethod
    def _background(work: Callable[..., None], *arguments: Any) -> threading.Thread:
        """Begin what takes longer than a client waits for an answer."""
        thread = threading.Thread(target=work, args=arguments)
        thread.start()
        return thread

    def _run_task(self, request: dict[str, Any]) -> dict[str, Any]:
        answer = super()._run_task(request)
        arn = answer["tasks"][0]["taskArn"]
        self.tasks[arn]["start"] = self._background(self._start, arn, request)
        return answer

    def _start(self, arn: str, request: dict[str, Any]) -> None:
        (container, *_) = self.definitions[request["taskDefinition"]]["containerDefinitions"]
        overrides = request.get("overrides", {}).get("containerOverrides", [{}])
        (override,) = [each for each in overrides if each.get("name", container["name"]) == container["name"]]
        try:
            variables = self.account.variables(self.name, container, override)
        except self.account.secrets.exceptions.ResourceNotFoundException as error:
            # In the words of AWS's page on this error.
            reason = f"ResourceInitializationError: unable to pull secrets or registry auth: {error}"
            self.tasks[arn] |= {"status": "STOPPED", "reason": reason}
            return
        command = override.get("command") or container["command"]
        log = self.account.folder / f"task-{self.name}-{arn.rpartition('/')[2]}"
        self.tasks[arn]["log"] = log
        with log.open("wb") as output:
            self.processes[arn] = subprocess.Popen(
                [ROOT / "docker/entrypoint", *command], cwd=ROOT, env=variables, stdout=output, stderr=subprocess.STDOUT
            )

    def _task(self, arn: str) -> dict[str, Any]:
        task = self.tasks[arn]
        task["start"].join(ANSWER_S)
        if task["start"].is_alive():
            return {"taskArn": arn, "lastStatus": "PENDING"}
        process = self.processes.get(arn)
        (container, *_) = self.definitions[task["taskDefinition"]]["containerDefinitions"]
        if process is None:
            ended = {
                "lastStatus": "STOPPED",
                "stoppedReason": task.get("reason", "see the trace"),
                "stopCode": "TaskFailedToStart",
            }
            return {"taskArn": arn, "containers": [{"name": container["name"]}]} | ended
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ANSWER_S)
        if process.poll() is None:
            return {"taskArn": arn, "lastStatus": "RUNNING"}
        if "log" in task:
            stream = f"ecs/{container['name']}/{arn.rpartition('/')[2]}"
            self.account.write_log(container, stream, task.pop("log").read_text().splitlines())
        return {
            "taskArn": arn,
            "lastStatus": "STOPPED",
            "stopCode": "EssentialContainerExited",
            "containers": [{"name": container["name"], "exitCode": process.returncode}],
        }

    def _stop_task(self, request: dict[str, Any]) -> dict[str, Any]:
        self.tasks[request["task"]]["start"].join()
        self.processes[request["task"]].terminate()
        return super()._stop_task(request)

    def stop(self) -> None:
        """End every process."""
        self._rollout.join()
        if self.web is not None:
            self.web.stop()
        for process in self.processes.values():
            process.terminate()
            process.wait(HANG_S)


class Account:
    """What tasks are made of: the account on moto, and the databases of this machine."""

    def __init__(self, endpoint: str, region: str, folder: Path, rds: Rds) -> None:
        self.endpoint, self.folder, self.rds = endpoint, folder, rds
        self.definitions: dict[str, dict[str, Any]] = {}
        keys = {name.lower(): value for name, value in aws.CREDENTIALS.items()}
        made = {"region_name": region, "endpoint_url": endpoint} | keys
        self.secrets, self.logs, self.ecr = (boto3.client(name, **made) for name in ("secretsmanager", "logs", "ecr"))

    def variables(self, name: str, container: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, str]:
        """Return a container's environment: the image's, the definition's, its secrets, and the way to this machine."""
        listed = [*container.get("environment", []), *override.get("environment", [])]
        own = {each["name"]: each["value"] for each in listed}
        own |= {each["name"]: self.secret(each["valueFrom"]) for each in container.get("secrets", [])}
        programs = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        image = {"PATH": programs, "PYTHONUNBUFFERED": "1", "REVISION": self.commit(container["image"])}
        # In AWS the task's role gives it credentials, DNS the database's address, and the database has a certificate.
        here = {"PGHOSTADDR": self.rds.address_of(name), "DATABASE_SSLMODE": "disable"}
        return image | own | aws.environment(self.endpoint) | {"AWS_REGION": own["AWS_REGION"]} | here

    def secret(self, place: str) -> str:
        """Return a secret's value, as ECS reads it: `<ARN>:<key>:<label>:<version>`, the ARN with seven parts."""
        parts = place.split(":")
        key, label, version = [*parts[7:], "", "", ""][:3]
        chosen = {"VersionId": version} if version else {"VersionStage": label or "AWSCURRENT"}
        value: str = self.secrets.get_secret_value(SecretId=":".join(parts[:7]), **chosen)["SecretString"]
        return json.loads(value)[key] if key else value

    def commit(self, image: str) -> str:
        """Return the commit that an image was built from."""
        repository, _, digest = image.partition("/")[2].partition("@")
        found = self.ecr.describe_images(repositoryName=repository, imageIds=[{"imageDigest": digest}])["imageDetails"]
        return next(tag.removeprefix("sha-") for tag in found[0]["imageTags"] if tag.startswith("sha-"))

    def write_log(self, container: Mapping[str, Any], stream: str, lines: list[str]) -> None:
        """Write a container's log where its definition says."""
        where = {"logGroupName": container["logConfiguration"]["options"]["awslogs-group"], "logStreamName": stream}
        self.logs.create_log_stream(**where)
        moment = int(time.time() * 1000)
        events = [{"timestamp": moment, "message": line} for line in lines if line]
        if events:
            self.logs.put_log_events(**where, logEvents=events)


class Web:
    """The container `web` of a revision, healthy."""

    def __init__(self, account: Account, name: str, definition: Mapping[str, Any]) -> None:
        (container,) = [each for each in definition["containerDefinitions"] if each["name"] == "web"]
        self.port = free_port()
        variables = account.variables(name, container, {}) | {"PORT": str(self.port), "METRICS_PORT": str(free_port())}
        self.host = variables["ALLOWED_HOSTS"]
        log = account.folder / f"web-{definition['family']}-{definition['revision']}"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [ROOT / "docker/entrypoint", "serve"], cwd=ROOT, env=variables, stdout=output, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + HANG_S
        while not self._is_healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"{definition['family']} does not become healthy:\n{log.read_text()[-4000:]}")
            time.sleep(0.05)

    def _is_healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANG_S)
        try:
            connection.request("GET", "/livez/")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(HANG_S)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


class Front:
    """ECS's address; `url` is it, and `services` what was created, by cluster."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.services: dict[str, LocalEcs] = {}
        self._lock = threading.Lock()
        front = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = front.answer(self.headers["X-Amz-Target"].rpartition(".")[2], body, self.headers)
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def answer(self, operation: str, body: bytes, headers: Any) -> tuple[int, bytes]:
        request = json.loads(body)
        ours = self.services.get(request.get("cluster", "").rpartition("/")[2]) if operation in OURS else None
        # What is only asked, and all that Terraform asks, moto answers; then ours is laid over it.
        status, answer = (200, b"{}") if ours and operation != "DescribeServices" else self._ask_moto(body, headers)
        if status != http.HTTPStatus.OK:
            return status, answer
        known = json.loads(answer)
        with self._lock:
            if operation == "RegisterTaskDefinition":
                made = known["taskDefinition"]
                self.account.definitions[made["taskDefinitionArn"]] = copy.deepcopy(made)
            elif operation == "CreateService":
                made = known["service"]
                name = made["serviceName"]
                made |= {"networkConfiguration": request["networkConfiguration"]}
                self.services[name] = LocalEcs(name, made, self.account)
            elif ours:
                answered = ours.answer(operation, request)
                if operation == "DescribeServices" and answered["services"] and known["services"]:
                    answered["services"] = [known["services"][0] | answered["services"][0]]
                answer = json.dumps(answered, default=str).encode()
        return status, answer

    def _ask_moto(self, body: bytes, headers: Any) -> tuple[int, bytes]:
        kept = {name: headers[name] for name in ("X-Amz-Target", "Content-Type", "Authorization", "X-Amz-Date")}
        connection = http.client.HTTPConnection(self.account.endpoint.removeprefix("http://"), timeout=HANG_S)
        try:
            connection.request("POST", "/", body, kept)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def close(self) -> None:
        """End every task, and the server."""
        for service in self.services.values():
            service.stop()
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def balancer(front: Front, certificate: Path, key: Path) -> Iterator[int]:
    """A load balancer with TLS for every service, chosen by the request's host; yield its port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = self.headers["Host"].partition(":")[0]
            web = next((each.web for each in front.services.values() if each.web and each.web.host == host), None)
            if web is None:
                self.send_error(http.HTTPStatus.SERVICE_UNAVAILABLE)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=HANG_S)
            # The second is added by the nginx of a task, which does not run here.
            added = {"X-Forwarded-For": f"{self.client_address[0]}, 127.0.0.1", "X-Forwarded-Proto": "https"}
            connection.request(self.command, self.path, body, dict(self.headers) | added)
            response = connection.getresponse()
            content = response.read()
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            connection.close()

        do_POST = do_GET  # noqa: N815  http.server's names

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()
