"""One-off tasks on ECS: start one, wait until it has stopped, print its log, and return its exit code."""

# Part of command line tools: it prints, and reads its environment.
# ruff: noqa: T201, TID251

import contextlib
import getpass
import os
import re
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploy.images import DeliveryError, aws_errors

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_ecs.type_defs import ContainerTypeDef, TaskTypeDef
    from mypy_boto3_logs import CloudWatchLogsClient

POLL_S = 10


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of a task; `code` is None if its container never ran."""

    code: int | None
    reason: str


@dataclass(kw_only=True)
class Tasks:
    """One-off tasks in one cluster."""

    ecs: "ECSClient"
    logs: "CloudWatchLogsClient"
    cluster: str
    log_group: str
    started_by: str
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic

    def run(self, definition: str, container: str, limit_s: float, **request: Any) -> Outcome:
        """Run a task and print its log. A task that takes longer, or whose caller is interrupted, is stopped.

        Raises: DeliveryError; KeyboardInterrupt after the task was stopped.
        """
        with aws_errors("starting the task"):
            answer = self.ecs.run_task(
                cluster=self.cluster,
                taskDefinition=definition,
                launchType="FARGATE",
                startedBy=self.started_by,
                **request,
            )
        if answer["failures"] or not answer["tasks"]:
            reasons = ", ".join(failure.get("reason", "no reason given") for failure in answer["failures"])
            raise DeliveryError(f"the task was not started: {reasons or 'no reason given'}")
        arn = answer["tasks"][0]["taskArn"]
        print(f"   task {arn}", flush=True)
        try:
            task = self._until_stopped(arn, limit_s)
        except KeyboardInterrupt:
            self._stop(arn, "interrupted")
            raise
        self._print_log(arn, container)
        if task is None:
            # A task left running would interfere with the next deployment.
            self._stop(arn, "took too long")
            raise DeliveryError(f"the task took longer than {limit_s} s and was stopped")
        found = next((one for one in task.get("containers", []) if one.get("name") == container), None)
        return Outcome(code=found.get("exitCode") if found else None, reason=why_stopped(task, found))

    def _until_stopped(self, arn: str, limit_s: float) -> "TaskTypeDef | None":
        """Return the stopped task, or None after the limit. A failed poll is repeated: the task runs on meanwhile."""
        deadline = self.now() + limit_s
        while self.now() < deadline:
            try:
                with aws_errors("waiting for the task"):
                    tasks = self.ecs.describe_tasks(cluster=self.cluster, tasks=[arn])["tasks"]
            except DeliveryError as error:
                print(f"   {error}; trying again", flush=True)
                tasks = []
            # ECS may not list a task immediately after its start.
            if tasks and tasks[0].get("lastStatus") == "STOPPED":
                return tasks[0]
            self.sleep(POLL_S)
        return None

    def _stop(self, arn: str, reason: str) -> None:
        try:
            with aws_errors("stopping the task"):
                self.ecs.stop_task(cluster=self.cluster, task=arn, reason=reason)
        except DeliveryError as error:
            raise DeliveryError(f"{error}; STILL RUNNING, stop it by hand: {arn}") from error
        print(f"   stopped {arn}: {reason}", flush=True)

    def _print_log(self, arn: str, container: str) -> None:
        """Print the task's log. An error while reading it does not replace the task's own failure."""
        stream = f"ecs/{container}/{arn.rpartition('/')[2]}"
        print(f"--- {self.log_group} {stream}:")
        page: dict[str, Any] = {}
        try:
            while True:
                with aws_errors(f"reading {stream}"):
                    answer = self.logs.get_log_events(
                        logGroupName=self.log_group, logStreamName=stream, startFromHead=True, **page
                    )
                for event in answer["events"]:
                    print(event.get("message", ""))
                # At the log's end the token stays the same.
                if answer["nextForwardToken"] == page.get("nextToken"):
                    break
                page = {"nextToken": answer["nextForwardToken"]}
        except DeliveryError as error:
            print(f"(the log cannot be read: {error})")
        print("---", flush=True)


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


def caller() -> str:
    """Return a name for this run, with the person who started it; ECS allows no other characters."""
    person = os.environ.get("GITHUB_ACTOR") or getpass.getuser()
    return (
        f"{re.sub('[^A-Za-z0-9_-]', '-', person)}/{os.environ.get('GITHUB_RUN_ID', 'terminal')}/{uuid.uuid4().hex[:8]}"
    )


@contextlib.contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt, the first of them only: nothing interrupts what it leads to."""

    def interrupt(*_: object) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupt) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
