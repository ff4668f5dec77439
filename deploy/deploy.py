"""Deploy an image to ECS: run its migrations, roll it out, smoke-test it, and roll back on failure.

    python -m deploy.deploy --image sha-<commit> [--release v1.2.3] [--dry-run] [--to FILE]
    python -m deploy.deploy --rollback --image v1.2.2 [--take-over] [--dry-run] [--to FILE]

`--image` is a tag or a digest in the registry; always the digest is deployed. The target is a JSON object, Terraform's
output `deployment`, from the environment variable DEPLOYMENT or a file; `deploy/ecs/example.json` has its keys. The task
definitions are rendered from `deploy/ecs/*.json`; nothing is copied from the running service, so nothing drifts.

The migration has its own task definition, registered in the same run with the same digest: its credentials may change
the schema, and the application's task must never have them.

`--rollback` returns to an image that the service has run, by the revision that it ran: with the task definition of that
time, without a migration and without a tag. It does not undo migrations, so each migration must be compatible with the
release before it.

A commit that a later one overtook is refused: several commits of main may wait to be deployed, and need not come in order.

One deployment at a time holds the environment's lock (`deploy/lock.py`). Right before the service is updated or rolled
back, its state is read again and the lock renewed: what another deployment or autoscaling has changed meanwhile stays.

A failure prints one line with the reason; the exit code is 1. Before the step that updates the service, a failure
changes nothing in the service. SIGINT and SIGTERM stop a running migration task; after the update they start the rollback.
"""

# A command line tool: it prints.
# ruff: noqa: T201

import argparse
import http.client
import json
import re
import sys
import time
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import ClientError

from deploy.images import CLIENT_CONFIG, DeliveryError, Image, Registry, aws_errors
from deploy.lock import Lock, Schema
from deploy.release import git
from deploy.target import Target, render
from deploy.tasks import POLL_S, Tasks, caller, interrupted_by_signals, why_stopped

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_ecs.type_defs import DeploymentTypeDef, ServiceTypeDef, UpdateServiceRequestTypeDef

VERSION = re.compile(r"v\d+\.\d+\.\d+")

MIGRATION_S = 20 * 60
# Longer than ECS's deployment circuit breaker usually takes.
ROLLOUT_S = 15 * 60
SMOKE_S = 120
DEFINITIONS = ("web.json", "migrate.json")
# Behind a load balancer each response comes from one of several tasks.
CONSECUTIVE_SUCCESSES = 5


class RollbackError(DeliveryError):
    """The new version does not serve: the service must be rolled back."""


@dataclass(kw_only=True)
class Clients:
    """The services that a deployment calls, and the clock. Tests replace them."""

    registry: Registry
    ecs: "ECSClient"
    tasks: Tasks
    lock: Lock
    schema: Schema
    get: Callable[[str], tuple[int, bytes]]
    # Whether the first commit has the second in its history.
    contains: Callable[[str, str], bool]
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic


@dataclass(kw_only=True)
class Deployment:
    """One deployment: its steps in order, and the rollback."""

    target: Target
    reference: str
    release: str = ""
    # Return to a revision that has run: no migration, no new task definition.
    rolls_back: bool = False
    # Return also to code that was not tested on the present schema; deploy also what a later commit overtook.
    unchecked: bool = False
    # Take the lock from another deployment, and replace a rollout in progress.
    takes_over: bool = False
    clients: Clients
    image: Image = field(init=False)
    before: "ServiceTypeDef" = field(init=False)
    # ARNs of the registered task definitions, by template name.
    registered: dict[str, str] = field(init=False, default_factory=dict)
    locked: bool = field(init=False, default=False)
    # The service runs, or is about to run, a revision that has not passed the smoke test.
    untested: bool = field(init=False, default=False)

    def run(self) -> None:
        """Run every step; roll back if the new version fails, or this is interrupted, before it has passed the tests."""
        try:
            for number, (description, step) in enumerate(self.steps(), start=1):
                print(f"{number}. {description}", flush=True)
                try:
                    step()
                except RollbackError as error:
                    self._roll_back(error)
                except KeyboardInterrupt:
                    interruption = DeliveryError(f"interrupted in step {number}")
                    if self.untested:
                        # Who cancels a job leaves it a few seconds.
                        self._roll_back(interruption, waits=False)
                    raise interruption from None
        finally:
            if self.locked:
                self._release()

    def _release(self) -> None:
        """Release the lock. An error does not replace the deployment's own outcome: the lock expires by itself."""
        try:
            self.clients.lock.release()
        except DeliveryError as error:
            print(f"   ({error})")

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """Return each step's description and function; `--dry-run` prints the descriptions."""
        target = self.target
        return [
            (f"Find {self.reference} in {target.repository}.", self.find_image),
            *([] if self.rolls_back else [(f"Check that it is tagged {target.requires}-<commit>.", self.check_image)]),
            (f"Take the lock in {target.lock_table}.", self.lock),
            *([] if self.rolls_back else [("Check that no later commit was deployed.", self.check_order)]),
            (
                f"Check that service {target.service} in cluster {target.cluster} has no rollout in progress.",
                self.check_service,
            ),
            *(
                [
                    ("Check that the image's code was tested on the present schema.", self.check_schema),
                    (f"Find the newest revision of {target.service} with the image's digest.", self.find_revision),
                ]
                if self.rolls_back
                else [
                    (f"Register {', '.join(DEFINITIONS)} with the image's digest.", self.register),
                    ("Run the migration task; its exit code must be 0.", self.migrate),
                ]
            ),
            ("Update the service to the new revision.", self.update),
            ("Wait until the new revision is the primary deployment and its rollout is COMPLETED.", self.wait),
            (f"Request /ping/ and /livez/ from {target.url}; the version must be the image's commit.", self.smoke_test),
            *(
                [(f"Tag the digest {target.marks}-<commit>.", self.mark)]
                if target.marks and not self.rolls_back
                else []
            ),
            *([(f"Tag the digest {self.release}.", self.mark_release)] if self.release else []),
        ]

    def find_image(self) -> None:
        """Find the image."""
        image = self.clients.registry.find(self.reference)
        if image is None:
            raise DeliveryError(
                f"{self.target.repository} has no image {self.reference}: {why_missing(self.reference)}"
            )
        self.image = image
        print(f"   commit {image.commit}, {image.digest}")

    def check_image(self) -> None:
        """Check that the image may be deployed to this environment."""
        needed = f"{self.target.requires}-{self.image.commit}"
        if needed not in self.image.tags:
            raise DeliveryError(f"{self.target.environment} accepts no image without the tag {needed}")

    def lock(self) -> None:
        """Take the environment's lock; `--take-over` takes it from another deployment."""
        if self.takes_over:
            self.clients.lock.take_over()
        else:
            self.clients.lock.take()
        self.locked = True

    def check_order(self) -> None:
        """Check that the last commit that was deployed here does not contain this one."""
        last = self.clients.schema.read()
        if self.unchecked or last in {"", self.image.commit}:
            return
        if self.clients.contains(last, self.image.commit):
            raise DeliveryError(
                f"{last} was deployed here before, and contains {self.image.commit}: release that one, roll back to this"
                " one, or --unchecked"
            )

    def check_service(self) -> None:
        """Keep the service's current state for the rollback. Raises: while another rollout is in progress."""
        with aws_errors("describing the service"):
            self.before = self._service()
        if self.before["status"] != "ACTIVE":
            raise DeliveryError(f"service {self.target.service} is {self.before['status']}")
        if primary(self.before).get("rolloutState") == "IN_PROGRESS" and not self.takes_over:
            raise DeliveryError(
                f"service {self.target.service} has a rollout in progress: wait until it has ended, or --take-over"
            )
        print(f"   {self.before['desiredCount']} tasks of {short(self.before['taskDefinition'])}")

    def register(self) -> None:
        """Register the task definitions with the image's digest."""
        address = f"{self.target.repository}@{self.image.digest}"
        for template, request in [(name, render(name, self.target, address)) for name in DEFINITIONS]:
            with aws_errors(f"registering {template}"):
                answer = self.clients.ecs.register_task_definition(**request)
            self.registered[template] = answer["taskDefinition"]["taskDefinitionArn"]
            print(f"   {short(self.registered[template])}")

    def check_schema(self) -> None:
        """Check that the image's code was tested on the schema of the last migration (checks/check-compatibility)."""
        commit = self.clients.schema.read()
        if self.unchecked or commit in {"", self.image.commit}:
            return
        newest = self.clients.registry.find(f"sha-{commit}")
        if newest is None or not newest.is_fit_for(self.image):
            raise DeliveryError(
                f"the schema is that of {commit}, on which {self.reference} was not tested: return to the release before"
                " that commit, deploy a new one, or --unchecked"
            )

    def find_revision(self) -> None:
        """Find the service's newest revision with the image's digest."""
        ecs, family = self.clients.ecs, self.target.service
        with aws_errors(f"looking for revisions of {family}"):
            pages = ecs.get_paginator("list_task_definitions").paginate(familyPrefix=family, sort="DESC")
            for arn in (arn for page in pages for arn in page["taskDefinitionArns"]):
                definition = ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
                images = [container.get("image", "") for container in definition.get("containerDefinitions", [])]
                if any(image.endswith(f"@{self.image.digest}") for image in images):
                    self.registered["web.json"] = arn
                    print(f"   {short(arn)}")
                    return
        raise DeliveryError(
            f"{self.reference} has never run in {self.target.environment}: deploy it, do not roll back to it"
        )

    def migrate(self) -> None:
        """Run the migration task in the service's network and wait for its exit code."""
        # Before: a migration that fails may have changed something.
        self.clients.schema.write(self.image.commit)
        try:
            outcome = self.clients.tasks.run(
                self.registered["migrate.json"],
                "migrate",
                MIGRATION_S,
                networkConfiguration=self.before["networkConfiguration"],
            )
        except DeliveryError as error:
            raise DeliveryError(f"the migration: {error}; the service was not changed") from error
        if outcome.code != 0:
            raise DeliveryError(f"the migration failed: {outcome.reason}; the service was not changed")

    def update(self) -> None:
        """Update the service to the new revision, unless another deployment has changed it during the migration."""
        expected = self.before["taskDefinition"]
        self.check_service()
        if self.before["taskDefinition"] != expected:
            raise DeliveryError(
                f"{short(self.before['taskDefinition'])} runs now, and no more {short(expected)}: another deployment"
                " changed the service, and this one did not"
            )
        self.clients.lock.renew()
        self.untested = True
        try:
            with aws_errors("updating the service"):
                # Sent only if it must rise: autoscaling may change it at any moment.
                self._update_service(
                    self.registered["web.json"],
                    tasks=self.target.tasks if self.before["desiredCount"] < self.target.tasks else None,
                )
        except DeliveryError as error:
            if is_refusal(error.__cause__):
                raise
            # ECS may have applied the request although its response was lost.
            raise RollbackError(str(error)) from error

    def _update_service(self, revision: str, *, tasks: int | None) -> None:
        request: UpdateServiceRequestTypeDef = {
            "cluster": self.target.cluster,
            "service": self.target.service,
            "taskDefinition": revision,
        }
        if tasks is not None:
            request["desiredCount"] = tasks
        self.clients.ecs.update_service(**request)

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
        deadline = self.clients.now() + ROLLOUT_S
        seen = False
        while self.clients.now() < deadline:
            deployment = primary(self._service_until(deadline))
            current = deployment.get("taskDefinition", "")
            self._ensure_ours(current)
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

    def _service_until(self, deadline: float) -> "ServiceTypeDef":
        """Describe the service; a failed call says nothing about the rollout, so it is repeated until the deadline."""
        while True:
            try:
                with aws_errors("describing the service"):
                    return self._service()
            except DeliveryError as error:
                if self.clients.now() + POLL_S >= deadline:
                    raise RollbackError(str(error)) from error
                print(f"   {error}; trying again", flush=True)
            self.clients.sleep(POLL_S)

    def _ensure_ours(self, current: str) -> None:
        """Raise DeliveryError if the service runs neither this deployment's revision nor the one before it."""
        if current not in {self.registered["web.json"], self.before["taskDefinition"]}:
            raise DeliveryError(
                f"{short(current) or 'nothing'} is primary: another deployment took over, so this one stops"
            )

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
                        # One that ends by itself takes the others along, whose exit code is 0.
                        for container in task.get("containers", []):
                            if container.get("exitCode") != 0:
                                name = f"{short(task['taskArn'])}, {container.get('name', '')}"
                                print(f"stopped task {name}: {why_stopped(task, container)}")
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
                    self.untested = False
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

    def _roll_back(self, failure: Exception, *, waits: bool = True) -> None:
        """Restore the previous revision. Raises: always, with both outcomes in one line."""
        revision = self.before["taskDefinition"]
        print(f"Rolling back to {short(revision)}: {failure}", flush=True)
        try:
            self._ensure_ours(self._service_until(self.clients.now() + SMOKE_S)["taskDefinition"])
            self.clients.lock.renew()
            with aws_errors("rolling back"):
                # The number of tasks stays what it is now, except the first deployment's: nothing served before it.
                self._update_service(revision, tasks=None if self.before["desiredCount"] else 0)
            if waits:
                self._until_completed(revision)
        except DeliveryError as error:
            raise DeliveryError(f"{failure}; ROLLBACK FAILED, check the service now: {error}") from failure
        end = "was rolled" if waits else "is on its way"
        raise DeliveryError(f"{failure}; the service {end} back to {short(revision)}") from failure

    def _service(self) -> "ServiceTypeDef":
        return describe_service(self.clients.ecs, self.target)


def describe_service(ecs: "ECSClient", target: Target) -> "ServiceTypeDef":
    """Return the service. Raises: DeliveryError if there is none, and botocore's errors."""
    answer = ecs.describe_services(cluster=target.cluster, services=[target.service])
    if not answer["services"]:
        reasons = ", ".join(failure.get("reason", "no reason given") for failure in answer["failures"])
        raise DeliveryError(f"there is no service {target.service} in {target.cluster}: {reasons}")
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
        ecs = session.client("ecs", config=CLIENT_CONFIG)
        dynamodb = session.client("dynamodb", config=CLIENT_CONFIG)
        holder = caller()
        return Clients(
            registry=Registry(session.client("ecr", config=CLIENT_CONFIG), target.repository),
            ecs=ecs,
            tasks=Tasks(
                ecs=ecs,
                logs=session.client("logs", config=CLIENT_CONFIG),
                cluster=target.cluster,
                log_group=target.log_group,
                started_by=holder,
            ),
            lock=Lock(client=dynamodb, table=target.lock_table, holder=holder),
            schema=Schema(client=dynamodb, table=target.lock_table),
            get=get,
            contains=contains,
        )


def contains(commit: str, earlier: str) -> bool:
    """Return whether a commit has an earlier one in its history. A commit that this clone lacks is said, and passes."""
    found = git("merge-base", "--is-ancestor", earlier, commit)
    if found.returncode > 1:
        print(f"   (this clone cannot compare {earlier} with {commit}: {found.stderr.strip()})")
    return found.returncode == 0


def print_plan(deployment: Deployment) -> None:
    """Print the steps and the task definitions, without any call to AWS."""
    for number, (description, _) in enumerate(deployment.steps(), start=1):
        print(f"{number}. {description}")
    print("From the update on, a failure restores the service's previous revision .")
    address = f"{deployment.target.repository}@<the digest of {deployment.reference}>"
    for template in () if deployment.rolls_back else DEFINITIONS:
        print(f"\n{template}:\n{json.dumps(render(template, deployment.target, address), indent=2)}")


def main(arguments: Sequence[str], clients: Callable[[Target], Clients] = connect) -> int:
    """Deploy, or print the plan."""
    parser = argparse.ArgumentParser(description="Deploy an image to ECS, and roll back on failure.")
    parser.add_argument("--image", required=True, help="a tag or a digest in the registry")
    parser.add_argument("--release", default="", help="tag the digest with this version at the end")
    parser.add_argument("--to", type=Path, help="a file with the target (default: the variable DEPLOYMENT)")
    parser.add_argument("--rollback", action="store_true", help="return to an image that has run there")
    parser.add_argument("--unchecked", action="store_true", help="whatever a check of order or schema says")
    parser.add_argument(
        "--take-over", action="store_true", help="take the lock from a deployment at work, and end its rollout"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    options = parser.parse_args(arguments)
    try:
        with interrupted_by_signals():
            run_command(options, clients)
    except (DeliveryError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run_command(options: argparse.Namespace, clients: Callable[[Target], Clients]) -> None:
    """Read the target, and deploy to it or print the plan."""
    if options.release and not VERSION.fullmatch(options.release):
        raise DeliveryError(f"--release is {options.release!r}: it must look like v1.2.3")
    target = Target.read(options.to)
    deployment = Deployment(
        target=target,
        reference=options.image,
        rolls_back=options.rollback,
        unchecked=options.unchecked,
        release=options.release,
        takes_over=options.take_over,
        clients=clients(target),
    )
    if options.dry_run:
        print_plan(deployment)
    else:
        deployment.run()
        print(f"Deployed {options.image} to {target.environment}.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
