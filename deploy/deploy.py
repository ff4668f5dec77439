"""Deploy an image to ECS: run its migrations, roll it out, smoke-test it, and roll back on failure.

    python -m deploy.deploy --image sha-<commit> [--release v1.2.3] [--without-migration] [--dry-run] [--to FILE]

`--image` is a tag or a digest in the registry; always the digest is deployed. The target is a JSON object, Terraform's
output `deployment`, from the environment variable DEPLOYMENT or a file; `deploy/ecs/example.json` has its keys. The task
definitions are rendered from `deploy/ecs/*.json`; nothing is copied from the running service, so nothing drifts.

The migration has its own task definition, registered in the same run with the same digest: its credentials may change
the schema, and the application's task must never have them. A rollback does not undo migrations, so each migration must
be compatible with the code before it.

A failure prints one line with the reason; the exit code is 1. Before the step that updates the service, a failure
changes nothing in the service.
"""

# A command line tool: it prints, and reads its environment.
# ruff: noqa: T201, TID251

import argparse
import http.client
import json
import os
import re
import string
import sys
import time
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

from deploy.images import CLIENT_CONFIG, DeliveryError, Image, Registry, aws_errors

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_ecs.type_defs import ContainerTypeDef, DeploymentTypeDef, ServiceTypeDef, TaskTypeDef
    from mypy_boto3_logs import CloudWatchLogsClient

TEMPLATES = Path(__file__).resolve().parent / "ecs"
VERSION = re.compile(r"v\d+\.\d+\.\d+")

POLL_S = 10
MIGRATION_S = 20 * 60
# Longer than ECS's deployment circuit breaker usually takes.
ROLLOUT_S = 15 * 60
SMOKE_S = 120
# Behind a load balancer each response comes from one of several tasks.
CONSECUTIVE_SUCCESSES = 5
LOG_LINES = 50


class RollbackError(DeliveryError):
    """The new version does not serve: the service must be rolled back."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The deployment target: Terraform's output `deployment`."""

    environment: str
    region: str
    repository: str
    cluster: str
    service: str
    # The minimum number of tasks: the first deployment starts them, later ones keep the number that autoscaling set.
    tasks: int
    url: str
    allowed_hosts: str
    execution_role: str
    migration_execution_role: str
    task_role: str
    app_secret: str
    migration_secret: str
    log_group: str
    # The image must have the tag <requires>-<commit>: `sha` for staging, `staged` for production.
    requires: str
    # A successful deployment adds the tag <marks>-<commit>: `staged` in staging; empty, so none, in production.
    marks: str

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Parse JSON. Raises: one DeliveryError that names every missing, unknown and malformed key."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise DeliveryError(f"the deployment's target is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise DeliveryError("the deployment's target must be a JSON object")
        types = {part.name: part.type for part in fields(cls)}
        problems = [f"{name} is missing" for name in sorted(types.keys() - values.keys())]
        problems += [f"{name} is unknown" for name in sorted(values.keys() - types.keys())]
        for name in sorted(types.keys() & values.keys()):
            if not isinstance(values[name], types[name]) or isinstance(values[name], bool):  # type: ignore[arg-type]  # no name of a type
                problems.append(f"{name} must be of type {getattr(types[name], '__name__', types[name])}")
            elif values[name] == "" and name != "marks":
                problems.append(f"{name} is empty")
        if not problems and not re.fullmatch(r"https?://[^/]+", values["url"]):
            problems.append("url must be https://HOST and nothing more")
        if problems:
            raise DeliveryError(f"the deployment's target is invalid: {', '.join(problems)}")
        return cls(**values)


def render(template: str, target: Target, image: str) -> dict[str, Any]:
    """Return the task definition rendered from a template in `deploy/ecs/`."""
    path = TEMPLATES / template
    values = {part.name: getattr(target, part.name) for part in fields(target)} | {"image": image}

    def fill(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: fill(value) for key, value in node.items()}
        if isinstance(node, list):
            return [fill(value) for value in node]
        return string.Template(node).substitute(values) if isinstance(node, str) else node

    try:
        rendered: dict[str, Any] = fill(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError) as error:
        raise DeliveryError(f"rendering {path.name}: {type(error).__name__}: {error}") from error
    return rendered


@dataclass(kw_only=True)
class Clients:
    """The services that a deployment calls, and the clock. Tests replace them."""

    registry: Registry
    ecs: "ECSClient"
    logs: "CloudWatchLogsClient"
    get: Callable[[str], tuple[int, bytes]]
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic


@dataclass(kw_only=True)
class Deployment:
    """One deployment: its steps in order, and the rollback."""

    target: Target
    reference: str
    migrates: bool
    release: str
    clients: Clients
    image: Image = field(init=False)
    before: "ServiceTypeDef" = field(init=False)
    # ARNs of the registered task definitions, by template name.
    registered: dict[str, str] = field(init=False, default_factory=dict)

    def run(self) -> None:
        """Run every step; roll back if the new version fails after its rollout has begun."""
        for number, (description, step) in enumerate(self.steps(), start=1):
            print(f"{number}. {description}", flush=True)
            try:
                step()
            except RollbackError as error:
                self._roll_back(error)

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """Return each step's description and function; `--dry-run` prints the descriptions."""
        target = self.target
        tag = f"{target.marks}-<commit>"
        return [
            (
                f"Find {self.reference} in {target.repository}; it must be tagged {target.requires}-<commit>.",
                self.find_image,
            ),
            (
                f"Check that service {target.service} in cluster {target.cluster} has no rollout in progress.",
                self.check_service,
            ),
            (f"Register {', '.join(self._templates())} with the image's digest.", self.register),
            *([("Run the migration task; its exit code must be 0.", self.migrate)] if self.migrates else []),
            ("Update the service to the new revision.", self.update),
            ("Wait until the new revision is the primary deployment and its rollout is COMPLETED.", self.wait),
            (f"Request /ping/ and /livez/ from {target.url}; the version must be the image's commit.", self.smoke_test),
            # Rolled out without its migrations, an image has not passed staging.
            *([(f"Tag the digest {tag}.", self.mark)] if target.marks and self.migrates else []),
            *([(f"Tag the digest {self.release}.", self.mark_release)] if self.release else []),
        ]

    def _templates(self) -> list[str]:
        return ["web.json", "migrate.json"] if self.migrates else ["web.json"]

    def find_image(self) -> None:
        """Find the image, and check that it may be deployed to this environment."""
        image = self.clients.registry.find(self.reference)
        if image is None:
            raise DeliveryError(
                f"{self.target.repository} has no image {self.reference}: {why_missing(self.reference)}"
            )
        needed = f"{self.target.requires}-{image.commit}"
        if needed not in image.tags:
            raise DeliveryError(f"{self.target.environment} accepts no image without the tag {needed}")
        self.image = image
        print(f"   commit {image.commit}, {image.digest}")

    def check_service(self) -> None:
        """Keep the service's current state for the rollback. Raises: while another rollout is in progress."""
        with aws_errors("describing the service"):
            self.before = self._service()
        if self.before["status"] != "ACTIVE":
            raise DeliveryError(f"service {self.target.service} is {self.before['status']}")
        if primary(self.before).get("rolloutState") == "IN_PROGRESS":
            raise DeliveryError(f"service {self.target.service} has a rollout in progress: wait until it has ended")
        print(f"   {self.before['desiredCount']} tasks of {short(self.before['taskDefinition'])}")

    def register(self) -> None:
        """Register the task definitions with the image's digest."""
        address = f"{self.target.repository}@{self.image.digest}"
        for template, request in [(name, render(name, self.target, address)) for name in self._templates()]:
            with aws_errors(f"registering {template}"):
                answer = self.clients.ecs.register_task_definition(**request)
            self.registered[template] = answer["taskDefinition"]["taskDefinitionArn"]
            print(f"   {short(self.registered[template])}")

    def migrate(self) -> None:
        """Run the migration task in the service's network and wait for its exit code."""
        with aws_errors("starting the migration task"):
            answer = self.clients.ecs.run_task(
                cluster=self.target.cluster,
                taskDefinition=self.registered["migrate.json"],
                launchType="FARGATE",
                networkConfiguration=self.before["networkConfiguration"],
                startedBy="deploy/deploy.py",
            )
        if answer["failures"] or not answer["tasks"]:
            reasons = ", ".join(failure.get("reason", "no reason given") for failure in answer["failures"])
            raise DeliveryError(f"the migration task was not started: {reasons or 'no reason given'}")
        arn = answer["tasks"][0]["taskArn"]
        task = self._until_stopped(arn)
        container = next((one for one in task.get("containers", []) if one.get("name") == "migrate"), None)
        code = container.get("exitCode") if container else None
        if code != 0:
            self._print_log_tail(arn)
            raise DeliveryError(f"the migration failed: {why_stopped(task, container)}; the service was not changed")

    def _until_stopped(self, arn: str) -> "TaskTypeDef":
        """Wait until the task has stopped, and return it; stop it after MIGRATION_S."""
        deadline = self.clients.now() + MIGRATION_S
        while self.clients.now() < deadline:
            with aws_errors("waiting for the migration task"):
                answer = self.clients.ecs.describe_tasks(cluster=self.target.cluster, tasks=[arn])
            # ECS may not list a task immediately after its start.
            if answer["tasks"] and answer["tasks"][0].get("lastStatus") == "STOPPED":
                return answer["tasks"][0]
            self.clients.sleep(POLL_S)
        self._print_log_tail(arn)
        # PostgreSQL rolls back the open transaction. A task left running would interfere with the next deployment.
        with aws_errors("stopping the migration task after its time limit"):
            self.clients.ecs.stop_task(cluster=self.target.cluster, task=arn, reason="took too long")
        raise DeliveryError(
            f"the migration took longer than {MIGRATION_S} s and was stopped; the service was not changed"
        )

    def _print_log_tail(self, arn: str) -> None:
        """Print the end of the migration's log. An error while reading it does not replace the migration's own failure."""
        stream = f"ecs/migrate/{arn.rpartition('/')[2]}"
        try:
            with aws_errors(f"reading {stream}"):
                events = self.clients.logs.get_log_events(
                    logGroupName=self.target.log_group, logStreamName=stream, limit=LOG_LINES, startFromHead=False
                )["events"]
        except DeliveryError as error:
            print(f"   (the log cannot be read: {error})")
            return
        print(f"--- the end of {self.target.log_group} {stream}:")
        for event in events:
            print(event.get("message", ""))

    def update(self) -> None:
        """Update the service to the new revision."""
        tasks = max(self.before["desiredCount"], self.target.tasks)
        try:
            with aws_errors("updating the service"):
                self._update_service(self.registered["web.json"], tasks)
        except DeliveryError as error:
            if is_refusal(error.__cause__):
                raise
            # ECS may have applied the request although its response was lost.
            raise RollbackError(str(error)) from error

    def _update_service(self, revision: str, tasks: int) -> None:
        self.clients.ecs.update_service(
            cluster=self.target.cluster, service=self.target.service, taskDefinition=revision, desiredCount=tasks
        )

    def wait(self) -> None:
        """Wait until the service runs the new revision and nothing else."""
        revision = self.registered["web.json"]
        try:
            self._until_completed(revision)
        except RollbackError:
            self._print_events()
            raise
        print(f"   {short(revision)} is primary, its rollout COMPLETED")

    def _until_completed(self, revision: str) -> None:
        """Wait until a revision is the primary deployment and COMPLETED. Raises: RollbackError when that fails."""
        ours = {self.registered["web.json"], self.before["taskDefinition"]}
        deadline = self.clients.now() + ROLLOUT_S
        seen = False
        while self.clients.now() < deadline:
            try:
                with aws_errors("waiting for the rollout"):
                    deployment = primary(self._service())
            except DeliveryError as error:
                raise RollbackError(str(error)) from error
            current = deployment.get("taskDefinition", "")
            if current not in ours:
                raise DeliveryError(
                    f"{short(current) or 'nothing'} is primary: another deployment took over, so this one stops"
                )
            # describe_services is eventually consistent: the revision is lost only if it was primary before.
            if current != revision and seen:
                raise RollbackError(f"ECS rolled back to {short(current)}")
            seen = current == revision
            if seen and deployment.get("rolloutState") == "COMPLETED":
                return
            if seen and deployment.get("rolloutState") == "FAILED":
                raise RollbackError(f"the rollout failed: {deployment.get('rolloutStateReason', 'no reason given')}")
            self.clients.sleep(POLL_S)
        raise RollbackError(f"the rollout of {short(revision)} was not COMPLETED after {ROLLOUT_S} s")

    def _print_events(self) -> None:
        """Print the service's events and the reasons of its stopped tasks: ECS reports them nowhere else."""
        ecs, cluster, service = self.clients.ecs, self.target.cluster, self.target.service
        try:
            with aws_errors("reading the service's events"):
                print(f"--- ECS events of {service}:")
                for event in self._service().get("events", [])[:5]:
                    print(event.get("message", ""))
                stopped = ecs.list_tasks(cluster=cluster, serviceName=service, desiredStatus="STOPPED")["taskArns"]
                if stopped:
                    for task in ecs.describe_tasks(cluster=cluster, tasks=stopped[:5])["tasks"]:
                        web = next((one for one in task.get("containers", []) if one.get("name") == "web"), None)
                        print(f"stopped task {short(task['taskArn'])}: {why_stopped(task, web)}")
        except DeliveryError as error:
            print(f"   (the rest cannot be read: {error})")

    def smoke_test(self) -> None:
        """Request both probes from outside until several responses in a row are right, for at most SMOKE_S."""
        deadline = self.clients.now() + SMOKE_S
        successes, last_failure = 0, "no response"
        while self.clients.now() < deadline:
            failure = self._probe_failure()
            if failure is None:
                successes += 1
                if successes == CONSECUTIVE_SUCCESSES:
                    return
            else:
                successes, last_failure = 0, failure
            self.clients.sleep(1 if failure is None else POLL_S)
        raise RollbackError(f"{self.target.url} does not serve it: {last_failure}")

    def _probe_failure(self) -> str | None:
        """Request each probe once; return the first failure, or None."""
        expected = {
            "/ping/": {"pong": True, "db": "ok"},
            "/livez/": {"status": "ok", "version": self.image.commit},
        }
        for path, expected_body in expected.items():
            try:
                status, body = self.clients.get(f"{self.target.url}{path}")
                answer = json.loads(body)
            except (OSError, http.client.HTTPException) as error:
                return f"{path}: {type(error).__name__}: {error}"
            except ValueError:
                return f"{path} returns {status} and no JSON"
            if status != http.HTTPStatus.OK or answer != expected_body:
                return f"{path} returns {status} {json.dumps(answer)}"
        return None

    def mark(self) -> None:
        """Add the tag that the next environment requires."""
        self._tag(f"{self.target.marks}-{self.image.commit}")

    def mark_release(self) -> None:
        """Add the version's tag."""
        self._tag(self.release)

    def _tag(self, tag: str) -> None:
        try:
            self.clients.registry.tag(self.image, tag)
        except DeliveryError as error:
            raise DeliveryError(f"{error} (the new version is deployed; only the tag is missing)") from error

    def _roll_back(self, failure: RollbackError) -> None:
        """Restore the previous revision and task count. Raises: always, with both outcomes in one line."""
        revision = self.before["taskDefinition"]
        print(f"Rolling back to {short(revision)}: {failure}", flush=True)
        try:
            with aws_errors("rolling back"):
                self._update_service(revision, self.before["desiredCount"])
            self._until_completed(revision)
        except DeliveryError as error:
            raise DeliveryError(f"{failure}; ROLLBACK FAILED, check the service now: {error}") from failure
        raise DeliveryError(f"{failure}; the service was rolled back to {short(revision)}") from failure

    def _service(self) -> "ServiceTypeDef":
        answer = self.clients.ecs.describe_services(cluster=self.target.cluster, services=[self.target.service])
        if not answer["services"]:
            reasons = ", ".join(failure.get("reason", "no reason given") for failure in answer["failures"])
            raise DeliveryError(f"there is no service {self.target.service} in {self.target.cluster}: {reasons}")
        return answer["services"][0]


def is_refusal(error: BaseException | None) -> bool:
    """Return whether AWS refused the call with a 4xx, so that it changed nothing."""
    if not isinstance(error, ClientError):
        return False
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return http.HTTPStatus.BAD_REQUEST <= status < http.HTTPStatus.INTERNAL_SERVER_ERROR


def primary(service: "ServiceTypeDef") -> "DeploymentTypeDef":
    """Return the service's primary deployment, or an empty one."""
    nothing: DeploymentTypeDef = {}
    return next((one for one in service["deployments"] if one.get("status") == "PRIMARY"), nothing)


def short(arn: str) -> str:
    """Return an ARN's last part, such as `app-staging:7`."""
    return arn.rpartition("/")[2]


def why_stopped(task: "TaskTypeDef", container: "ContainerTypeDef | None") -> str:
    """Return the exit code and the reasons that ECS reports for a stopped task, on one line."""
    container = container or {}
    reasons = [
        f"exit code {container['exitCode']}" if "exitCode" in container else "no exit code",
        task.get("stopCode", ""),
        task.get("stoppedReason", ""),
        container.get("reason", ""),
    ]
    return ", ".join(reason for reason in reasons if reason)


def why_missing(reference: str) -> str:
    """Return the reason for which a tag is missing."""
    if reference.startswith("staged-"):
        return "its commit has not passed staging"
    if reference.startswith("sha-"):
        return "its commit was not published from main"
    return "nothing was published under this name"


def get(url: str) -> tuple[int, bytes]:
    """Send GET on a new connection; redirects are not followed, since only the URL itself is tested."""
    parts = urllib.parse.urlsplit(url)
    connection_types = {"https": http.client.HTTPSConnection, "http": http.client.HTTPConnection}
    connection = connection_types[parts.scheme](parts.netloc, timeout=5)
    try:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        return response.status, response.read(64 * 1024)
    finally:
        connection.close()


def connect(target: Target) -> Clients:
    """Create the clients; this makes no call yet."""
    with aws_errors("connecting to AWS"):
        session = boto3.session.Session(region_name=target.region)
        return Clients(
            registry=Registry(session.client("ecr", config=CLIENT_CONFIG), target.repository),
            ecs=session.client("ecs", config=CLIENT_CONFIG),
            logs=session.client("logs", config=CLIENT_CONFIG),
            get=get,
        )


def print_plan(deployment: Deployment) -> None:
    """Print the steps and the task definitions, without any call to AWS."""
    for number, (description, _) in enumerate(deployment.steps(), start=1):
        print(f"{number}. {description}")
    print("From the update on, a failure restores the service's previous revision and number of tasks.")
    address = f"{deployment.target.repository}@<the digest of {deployment.reference}>"
    for template in deployment._templates():  # noqa: SLF001  of this module
        print(f"\n{template}:\n{json.dumps(render(template, deployment.target, address), indent=2)}")


def main(arguments: Sequence[str], clients: Callable[[Target], Clients] = connect) -> int:
    """Deploy, or print the plan."""
    parser = argparse.ArgumentParser(description="Deploy an image to ECS, and roll back on failure.")
    parser.add_argument("--image", required=True, help="a tag or a digest in the registry")
    parser.add_argument("--release", default="", help="tag the digest with this version at the end")
    parser.add_argument("--to", type=Path, help="a file with the target (default: the variable DEPLOYMENT)")
    parser.add_argument("--without-migration", action="store_true", help="for a rollback to an earlier image")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    options = parser.parse_args(arguments)
    try:
        run_command(options, clients)
    except (DeliveryError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run_command(options: argparse.Namespace, clients: Callable[[Target], Clients]) -> None:
    """Read the target, and deploy to it or print the plan."""
    if options.release and not VERSION.fullmatch(options.release):
        raise DeliveryError(f"--release is {options.release!r}: it must look like v1.2.3")
    text = options.to.read_text() if options.to else os.environ.get("DEPLOYMENT", "")
    if not text:
        raise DeliveryError("DEPLOYMENT is not set: it is Terraform's output `deployment`")
    target = Target.parse(text)
    deployment = Deployment(
        target=target,
        reference=options.image,
        migrates=not options.without_migration,
        release=options.release,
        clients=clients(target),
    )
    if options.dry_run:
        print_plan(deployment)
    else:
        deployment.run()
        print(f"Deployed {options.image} to {target.environment}.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
