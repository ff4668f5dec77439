"""Deploy an image to ECS: migrate with it, roll it out, see that it serves, and go back if it does not.

    deploy.py --image sha-<commit> [--release v1.2.3] [--without-migration] [--dry-run] [--to FILE]

What is deployed is a digest: `--image` is a tag or a digest that the registry holds. Where to is a JSON object, Terraform's
output `deployment`, in the environment variable DEPLOYMENT or in a file; `deploy/ecs/example.json` has its keys. The
task definitions are `deploy/ecs/*.json`, and nothing is copied from what runs today, so nothing drifts.

The migration has a task definition of its own, registered in the same run with the same digest: its credentials may
change the schema, and the application's task must never hold them. Migrations are not undone by going back, so each
must suit the code before it, too.

One line says why a deployment failed, and its exit code is 1. Until the service is updated a failure touches nothing.
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

from deploy.images import PATIENCE, DeliveryError, Image, Registry, doing

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_ecs.type_defs import ContainerTypeDef, DeploymentTypeDef, ServiceTypeDef, TaskTypeDef
    from mypy_boto3_logs import CloudWatchLogsClient

TEMPLATES = Path(__file__).resolve().parent / "ecs"
VERSION = re.compile(r"v\d+\.\d+\.\d+")

POLL_S = 10
MIGRATION_S = 20 * 60
# Longer than ECS's circuit breaker usually takes to give up.
ROLLOUT_S = 15 * 60
SMOKE_S = 120
# Behind a load balancer one answer comes from one task of many.
ANSWERS_IN_A_ROW = 5
LOG_LINES = 50


class FailedError(DeliveryError):
    """The new version is not fit to serve: the service must go back."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where to deploy: what Terraform made."""

    environment: str
    region: str
    repository: str
    cluster: str
    service: str
    # At least so many tasks: the first deployment finds none, later ones keep what autoscaling chose.
    tasks: int
    url: str
    allowed_hosts: str
    execution_role: str
    migration_execution_role: str
    task_role: str
    app_secret: str
    migration_secret: str
    log_group: str
    # The image must have this tag for its commit: `sha` for staging, `staged` for production.
    requires: str
    # And gets this one when all went well: `staged` in staging, none in production.
    marks: str

    @classmethod
    def read(cls, text: str) -> "Target":
        """Read JSON; whatever is wrong with it is one error."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise DeliveryError(f"the deployment's target is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise DeliveryError("the deployment's target must be a JSON object")
        wanted = {part.name: part.type for part in fields(cls)}
        wrong = [f"{name} is missing" for name in sorted(wanted.keys() - values.keys())]
        wrong += [f"{name} is not known" for name in sorted(values.keys() - wanted.keys())]
        for name in sorted(wanted.keys() & values.keys()):
            if not isinstance(values[name], wanted[name]) or isinstance(values[name], bool):  # type: ignore[arg-type]  # no name of a type
                wrong.append(f"{name} must be of type {getattr(wanted[name], '__name__', wanted[name])}")
            elif values[name] == "" and name != "marks":
                wrong.append(f"{name} is empty")
        if not wrong and not re.fullmatch(r"https?://[^/]+", values["url"]):
            wrong.append("url must be https://HOST and nothing more")
        if wrong:
            raise DeliveryError(f"the deployment's target is wrong: {', '.join(wrong)}")
        return cls(**values)


def render(template: str, target: Target, image: str) -> dict[str, Any]:
    """Return the task definition that a template in `deploy/ecs/` makes."""
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
    """The four things outside that a deployment talks to, and time."""

    registry: Registry
    ecs: "ECSClient"
    logs: "CloudWatchLogsClient"
    get: Callable[[str], tuple[int, bytes]]
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic


@dataclass(kw_only=True)
class Deployment:
    """One deployment: `steps` in their order, and the way back."""

    target: Target
    reference: str
    migrates: bool
    release: str
    clients: Clients
    image: Image = field(init=False)
    before: "ServiceTypeDef" = field(init=False)
    # Revisions, by the names of their templates.
    registered: dict[str, str] = field(init=False, default_factory=dict)

    def run(self) -> None:
        """Take every step; go back if the new version has begun to roll out and fails."""
        for number, (sentence, step) in enumerate(self.steps(), start=1):
            print(f"{number}. {sentence}", flush=True)
            try:
                step()
            except FailedError as error:
                self._go_back(error)

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """Return what is done, in words and in code: the plan is this list, too."""
        target = self.target
        tag = f"{target.marks}-<commit>"
        return [
            (f"Find {self.reference} in {target.repository}; it must be tagged {target.requires}-<commit>.", self.find),
            (f"See that service {target.service} in cluster {target.cluster} is at rest.", self.look),
            (f"Register {', '.join(self._templates())} with the image's digest.", self.register),
            *([("Run the migration task; its exit code must be 0.", self.migrate)] if self.migrates else []),
            ("Update the service to the new revision.", self.update),
            ("Wait until the new revision is the primary deployment and its rollout is COMPLETED.", self.wait),
            (f"Ask {target.url} for /ping/ and for the commit that /livez/ tells.", self.smoke),
            # An image that was rolled out without its migrations has not proved that it can be.
            *([(f"Tag the digest {tag}.", self.mark)] if target.marks and self.migrates else []),
            *([(f"Tag the digest {self.release}.", self.mark_release)] if self.release else []),
        ]

    def _templates(self) -> list[str]:
        return ["web.json", "migrate.json"] if self.migrates else ["web.json"]

    def find(self) -> None:
        """Find the image, and see that it may come here."""
        image = self.clients.registry.find(self.reference)
        if image is None:
            raise DeliveryError(
                f"{self.target.repository} has no image {self.reference}: {why_missing(self.reference)}"
            )
        needed = f"{self.target.requires}-{image.commit}"
        if needed not in image.tags:
            raise DeliveryError(f"{self.target.environment} takes no image without the tag {needed}")
        self.image = image
        print(f"   commit {image.commit}, {image.digest}")

    def look(self) -> None:
        """Remember what serves now; refuse to meddle with a rollout that is under way."""
        with doing("looking at the service"):
            self.before = self._service()
        if self.before["status"] != "ACTIVE":
            raise DeliveryError(f"service {self.target.service} is {self.before['status']}")
        if primary(self.before).get("rolloutState") == "IN_PROGRESS":
            raise DeliveryError(f"service {self.target.service} has a rollout under way: wait until it has ended")
        print(f"   {self.before['desiredCount']} tasks of {short(self.before['taskDefinition'])}")

    def register(self) -> None:
        """Register the task definitions, each with the digest."""
        address = f"{self.target.repository}@{self.image.digest}"
        for template, request in [(name, render(name, self.target, address)) for name in self._templates()]:
            with doing(f"registering {template}"):
                answer = self.clients.ecs.register_task_definition(**request)
            self.registered[template] = answer["taskDefinition"]["taskDefinitionArn"]
            print(f"   {short(self.registered[template])}")

    def migrate(self) -> None:
        """Run the migration in the service's own network, and wait for its exit code."""
        with doing("starting the migration task"):
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
            raise DeliveryError(f"the migration failed: {why_stopped(task, container)}; the service was not touched")

    def _until_stopped(self, arn: str) -> "TaskTypeDef":
        """Return the task when it has stopped; stop it if it takes too long."""
        deadline = self.clients.now() + MIGRATION_S
        while self.clients.now() < deadline:
            with doing("waiting for the migration task"):
                answer = self.clients.ecs.describe_tasks(cluster=self.target.cluster, tasks=[arn])
            # A task that was started a moment ago may not be found yet.
            if answer["tasks"] and answer["tasks"][0].get("lastStatus") == "STOPPED":
                return answer["tasks"][0]
            self.clients.sleep(POLL_S)
        self._print_log_tail(arn)
        # PostgreSQL undoes what was not committed. Left alone, it would go on behind the next deployment's back.
        with doing("stopping the migration task, which took too long"):
            self.clients.ecs.stop_task(cluster=self.target.cluster, task=arn, reason="took too long")
        raise DeliveryError(
            f"the migration took longer than {MIGRATION_S} s and was stopped; the service was not touched"
        )

    def _print_log_tail(self, arn: str) -> None:
        """Print the end of the migration's log; the failure that it explains must not get lost behind another."""
        stream = f"ecs/migrate/{arn.rpartition('/')[2]}"
        try:
            with doing(f"reading {stream}"):
                events = self.clients.logs.get_log_events(
                    logGroupName=self.target.log_group, logStreamName=stream, limit=LOG_LINES, startFromHead=False
                )["events"]
        except DeliveryError as error:
            print(f"   (the log cannot be shown: {error})")
            return
        print(f"--- the end of {self.target.log_group} {stream}:")
        for event in events:
            print(event.get("message", ""))

    def update(self) -> None:
        """Let the service change over."""
        tasks = max(self.before["desiredCount"], self.target.tasks)
        try:
            with doing("updating the service"):
                self._update_service(self.registered["web.json"], tasks)
        except DeliveryError as error:
            if is_refusal(error.__cause__):
                raise
            # The request may have arrived, and only its answer got lost.
            raise FailedError(str(error)) from error

    def _update_service(self, revision: str, tasks: int) -> None:
        self.clients.ecs.update_service(
            cluster=self.target.cluster, service=self.target.service, taskDefinition=revision, desiredCount=tasks
        )

    def wait(self) -> None:
        """Wait until the service runs the new revision and nothing else."""
        revision = self.registered["web.json"]
        try:
            self._until_completed(revision)
        except FailedError:
            self._print_events()
            raise
        print(f"   {short(revision)} is primary, its rollout COMPLETED")

    def _until_completed(self, revision: str) -> None:
        """Return when a revision is the primary deployment and COMPLETED; raise `FailedError` if that will not be."""
        ours = {self.registered["web.json"], self.before["taskDefinition"]}
        deadline = self.clients.now() + ROLLOUT_S
        seen = False
        while self.clients.now() < deadline:
            try:
                with doing("waiting for the rollout"):
                    deployment = primary(self._service())
            except DeliveryError as error:
                raise FailedError(str(error)) from error
            current = deployment.get("taskDefinition", "")
            if current not in ours:
                raise DeliveryError(f"{short(current) or 'nothing'} is primary: somebody else deploys, so we let go")
            # What ECS describes may be a moment old: the revision counts as lost only after it was seen.
            if current != revision and seen:
                raise FailedError(f"ECS went back to {short(current)} by itself")
            seen = current == revision
            if seen and deployment.get("rolloutState") == "COMPLETED":
                return
            if seen and deployment.get("rolloutState") == "FAILED":
                raise FailedError(f"the rollout failed: {deployment.get('rolloutStateReason', 'no reason given')}")
            self.clients.sleep(POLL_S)
        raise FailedError(f"the rollout of {short(revision)} was not COMPLETED after {ROLLOUT_S} s")

    def _print_events(self) -> None:
        """Print what the service and its stopped tasks say: ECS gives the reason nowhere else."""
        ecs, cluster, service = self.clients.ecs, self.target.cluster, self.target.service
        try:
            with doing("reading the service's events"):
                print(f"--- what ECS says of {service}:")
                for event in self._service().get("events", [])[:5]:
                    print(event.get("message", ""))
                stopped = ecs.list_tasks(cluster=cluster, serviceName=service, desiredStatus="STOPPED")["taskArns"]
                if stopped:
                    for task in ecs.describe_tasks(cluster=cluster, tasks=stopped[:5])["tasks"]:
                        web = next((one for one in task.get("containers", []) if one.get("name") == "web"), None)
                        print(f"stopped task {short(task['taskArn'])}: {why_stopped(task, web)}")
        except DeliveryError as error:
            print(f"   (no more can be shown: {error})")

    def smoke(self) -> None:
        """Ask from outside until the answers are right, one after the other."""
        deadline = self.clients.now() + SMOKE_S
        right, wrong = 0, "nothing"
        while self.clients.now() < deadline:
            found = self._what_is_wrong()
            if found is None:
                right += 1
                if right == ANSWERS_IN_A_ROW:
                    return
            else:
                right, wrong = 0, found
            self.clients.sleep(1 if found is None else POLL_S)
        raise FailedError(f"{self.target.url} does not serve it: {wrong}")

    def _what_is_wrong(self) -> str | None:
        """Ask both probes once."""
        expected = {
            "/ping/": {"pong": True, "db": "ok"},
            "/livez/": {"status": "ok", "version": self.image.commit},
        }
        for path, wanted in expected.items():
            try:
                status, body = self.clients.get(f"{self.target.url}{path}")
                answer = json.loads(body)
            except (OSError, http.client.HTTPException) as error:
                return f"{path}: {type(error).__name__}: {error}"
            except ValueError:
                return f"{path} answers {status} and no JSON"
            if status != http.HTTPStatus.OK or answer != wanted:
                return f"{path} answers {status} {json.dumps(answer)}"
        return None

    def mark(self) -> None:
        """Leave the tag that the next environment asks for."""
        self._tag(f"{self.target.marks}-{self.image.commit}")

    def mark_release(self) -> None:
        """Leave the version's tag."""
        self._tag(self.release)

    def _tag(self, tag: str) -> None:
        try:
            self.clients.registry.tag(self.image, tag)
        except DeliveryError as error:
            raise DeliveryError(f"{error} (the new version serves; only the tag is missing)") from error

    def _go_back(self, failure: FailedError) -> None:
        """Put the service back to what served before; always raises, with both outcomes in one line."""
        revision = self.before["taskDefinition"]
        print(f"Going back to {short(revision)}: {failure}", flush=True)
        try:
            with doing("going back"):
                self._update_service(revision, self.before["desiredCount"])
            self._until_completed(revision)
        except DeliveryError as error:
            raise DeliveryError(f"{failure}; AND GOING BACK FAILED, look at the service now: {error}") from failure
        raise DeliveryError(f"{failure}; the service is back at {short(revision)}") from failure

    def _service(self) -> "ServiceTypeDef":
        answer = self.clients.ecs.describe_services(cluster=self.target.cluster, services=[self.target.service])
        if not answer["services"]:
            reasons = ", ".join(failure.get("reason", "no reason given") for failure in answer["failures"])
            raise DeliveryError(f"there is no service {self.target.service} in {self.target.cluster}: {reasons}")
        return answer["services"][0]


def is_refusal(error: BaseException | None) -> bool:
    """Tell whether AWS said no, so that nothing was done."""
    if not isinstance(error, ClientError):
        return False
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return http.HTTPStatus.BAD_REQUEST <= status < http.HTTPStatus.INTERNAL_SERVER_ERROR


def primary(service: "ServiceTypeDef") -> "DeploymentTypeDef":
    """Return the deployment that the service is on its way to."""
    nothing: DeploymentTypeDef = {}
    return next((one for one in service["deployments"] if one.get("status") == "PRIMARY"), nothing)


def short(arn: str) -> str:
    """Return an ARN's last part, such as `bank-staging:7`."""
    return arn.rpartition("/")[2]


def why_stopped(task: "TaskTypeDef", container: "ContainerTypeDef | None") -> str:
    """Return everything that ECS says of a stopped task, in half a line."""
    container = container or {}
    said = [
        f"exit code {container['exitCode']}" if "exitCode" in container else "no exit code",
        task.get("stopCode", ""),
        task.get("stoppedReason", ""),
        container.get("reason", ""),
    ]
    return ", ".join(part for part in said if part)


def why_missing(reference: str) -> str:
    """Say what an absent tag means."""
    if reference.startswith("staged-"):
        return "its commit has not passed staging"
    if reference.startswith("sha-"):
        return "its commit was not published from main"
    return "nothing was published under this name"


def get(url: str) -> tuple[int, bytes]:
    """GET on a connection of its own; redirects are not followed: where they lead is not what was asked."""
    parts = urllib.parse.urlsplit(url)
    kinds = {"https": http.client.HTTPSConnection, "http": http.client.HTTPConnection}
    connection = kinds[parts.scheme](parts.netloc, timeout=5)
    try:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        return response.status, response.read(64 * 1024)
    finally:
        connection.close()


def connect(target: Target) -> Clients:
    """Make the clients; no call is made yet."""
    with doing("connecting to AWS"):
        session = boto3.session.Session(region_name=target.region)
        return Clients(
            registry=Registry(session.client("ecr", config=PATIENCE), target.repository),
            ecs=session.client("ecs", config=PATIENCE),
            logs=session.client("logs", config=PATIENCE),
            get=get,
        )


def print_plan(deployment: Deployment) -> None:
    """Print the steps and the task definitions; nothing outside is asked or told."""
    for number, (sentence, _) in enumerate(deployment.steps(), start=1):
        print(f"{number}. {sentence}")
    print("From the update on, a failure puts the service back to the revision and number of tasks it had.")
    address = f"{deployment.target.repository}@<the digest of {deployment.reference}>"
    for template in deployment._templates():  # noqa: SLF001  of this module
        print(f"\n{template}:\n{json.dumps(render(template, deployment.target, address), indent=2)}")


def main(arguments: Sequence[str], clients: Callable[[Target], Clients] = connect) -> int:
    """Deploy, or print the plan."""
    parser = argparse.ArgumentParser(description="Deploy an image to ECS, and go back if it does not serve.")
    parser.add_argument("--image", required=True, help="a tag or a digest in the registry")
    parser.add_argument("--release", default="", help="tag the digest with this version at the end")
    parser.add_argument("--to", type=Path, help="a file with the target; else DEPLOYMENT has it")
    parser.add_argument("--without-migration", action="store_true", help="for an image whose schema is there")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, and do nothing")
    options = parser.parse_args(arguments)
    try:
        carry_out(options, clients)
    except (DeliveryError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def carry_out(options: argparse.Namespace, clients: Callable[[Target], Clients]) -> None:
    """Do what the command line says."""
    if options.release and not VERSION.fullmatch(options.release):
        raise DeliveryError(f"--release is {options.release!r}: it must look like v1.2.3")
    told = options.to.read_text() if options.to else os.environ.get("DEPLOYMENT", "")
    if not told:
        raise DeliveryError("DEPLOYMENT is not set: it is Terraform's output `deployment`")
    target = Target.read(told)
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
