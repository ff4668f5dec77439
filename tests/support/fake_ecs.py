"""ECS that keeps state: one service whose rollouts take time, one-off tasks, and answers that may be a moment old."""

import copy
from collections.abc import Callable
from typing import Any, Self

from botocore import xform_name

from tests.support.fake_aws import client_of

ARN = "arn:aws:ecs:eu-central-1:123456789012"
# A task of the service whose container ended.
CRASHED = f"{ARN}:task/app/crashed"
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}}


class FakeEcs:
    """One service in a cluster of the same name, and a clock that stands still except in `sleep`.

    The client is boto3's own, so parameters are checked against AWS's model; each call reaches the method of its name here.
    """

    def __init__(self, name: str = "app") -> None:
        self.client = client_of("ecs")
        self.name = name
        self.seconds = 0.0
        # What the tests say of this world.
        self.late_s = 0
        self.rollout_s = 30
        self.task_s = 20
        self.exit_code: int | None = 0
        self.task: dict[str, Any] = {}
        self.start_failures: list[dict[str, str]] = []
        # The revisions that never become healthy, and whether ECS's circuit breaker rolls them back.
        self.broken: set[str] = set()
        self.breaker = True
        # What it has seen.
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.tasks: dict[str, dict[str, Any]] = {}
        self.definitions: dict[str, dict[str, Any]] = {}
        self.service: dict[str, Any] = {"status": "ACTIVE", "desiredCount": 2, "networkConfiguration": NETWORK}
        self._refusals: list[tuple[str, Exception | str, int]] = []
        self._events: list[tuple[float, Callable[[], None]]] = []
        self._history: list[tuple[float, dict[str, Any]]] = []
        self._stable = self.register(name, containerDefinitions=[{"name": "web"}])
        self.service |= {"taskDefinition": self._stable, "rollout": "COMPLETED", "since": 0.0}
        self._remember()

    def __enter__(self) -> Self:
        self.client.meta.events.register("before-parameter-build.ecs", self._note, unique_id="fake-parameters")
        self.client.meta.events.register("before-call.ecs", self._answer, unique_id="fake-answer")
        return self

    def __exit__(self, *error: object) -> None:
        self.client.meta.events.unregister("before-parameter-build.ecs", unique_id="fake-parameters")
        self.client.meta.events.unregister("before-call.ecs", unique_id="fake-answer")

    # --- what a test does

    def refuse(
        self, operation: str, code: Exception | str = "AccessDeniedException", *, status: int = 400, n: int = 1
    ) -> None:
        """Let the next calls of an operation fail: with AWS's answer, or with an exception of the client's own."""
        self._refusals += [(operation, code, status)] * n

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Let something happen at a time."""
        self._events.append((self.seconds + seconds, event))

    def during(self, operation: str, event: Callable[[], None]) -> None:
        """Let something happen right before the next call of an operation takes effect."""
        self._refusals.append((operation, _Event(event), 0))

    def register(self, family: str, **definition: Any) -> str:
        revision = 1 + sum(arn.rpartition("/")[2].rpartition(":")[0] == family for arn in self.definitions)
        arn = f"{ARN}:task-definition/{family}:{revision}"
        self.definitions[arn] = {"family": family, "taskDefinitionArn": arn, "revision": revision} | definition
        return arn

    def roll_out(self, arn: str) -> None:
        """Begin a rollout, as UpdateService does, whoever calls it."""
        self.service |= {"taskDefinition": arn, "rollout": "IN_PROGRESS", "since": self.seconds}
        self._remember()

    def scale(self, tasks: int) -> None:
        self.service["desiredCount"] = tasks
        self._remember()

    @property
    def running(self) -> str:
        """The revision that the service runs or rolls out, such as `app:2`."""
        return self.service["taskDefinition"].rpartition("/")[2]

    def called(self, operation: str) -> list[dict[str, Any]]:
        return [parameters for name, parameters in self.calls if name == operation]

    # --- the clock

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        end = self.seconds + seconds
        for moment, event in sorted(self._events, key=lambda each: each[0]):
            if moment <= end:
                self._events.remove((moment, event))
                self.seconds = max(self.seconds, moment)
                event()
        self.seconds = end

    # --- the operations

    def _note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self._parameters = params

    def _answer(self, model: Any, **_: Any) -> tuple[Any, dict[str, Any]]:
        operation, parameters = model.name, self._parameters
        self.calls.append((operation, copy.deepcopy(parameters)))
        for refusal in self._refusals:
            if refusal[0] == operation:
                self._refusals.remove(refusal)
                _, what, status = refusal
                if isinstance(what, _Event):
                    what.run()
                    break
                if status >= 500:
                    # The request was carried out, and its answer lost.
                    self._carry_out(operation, parameters)
                if isinstance(what, Exception):
                    raise what
                return _Answer(status), {
                    "Error": {"Code": what, "Message": "no, you may not\n<html>"},
                    "ResponseMetadata": {"HTTPStatusCode": status},
                }
        return _Answer(200), self._carry_out(operation, parameters)

    def _carry_out(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(self, f"_{xform_name(operation)}")(request)
        return answer

    def _describe_services(self, request: dict[str, Any]) -> dict[str, Any]:
        if request != {"cluster": self.name, "services": [self.name]} or not self.service:
            return {"services": [], "failures": [{"reason": "MISSING"}]}
        self._settle()
        first, *later = self._history
        known = next((state for since, state in reversed(later) if since <= self.seconds - self.late_s), first[1])
        primary = {
            "status": "PRIMARY",
            "taskDefinition": known["taskDefinition"],
            "rolloutState": known["rollout"],
            "rolloutStateReason": "crash",
        }
        events = [{"message": "(service app) failed container health checks."}] if self.broken else []
        shown = {key: value for key, value in known.items() if key not in {"rollout", "since"}}
        return {"services": [shown | {"deployments": [primary], "events": events}], "failures": []}

    def _update_service(self, request: dict[str, Any]) -> dict[str, Any]:
        assert request["taskDefinition"] in self.definitions
        if "desiredCount" in request:
            self.scale(request["desiredCount"])
        if request["taskDefinition"] != self.service["taskDefinition"]:
            self.roll_out(request["taskDefinition"])
        return {}

    def _register_task_definition(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"taskDefinition": {"taskDefinitionArn": self.register(**request)}}

    def _list_task_definitions(self, request: dict[str, Any]) -> dict[str, Any]:
        assert request["sort"] == "DESC"
        found = [arn for arn, each in self.definitions.items() if each["family"] == request["familyPrefix"]]
        # By two, as AWS by a hundred.
        start = int(request.get("nextToken", 0))
        more = {"nextToken": str(start + 2)} if start + 2 < len(found) else {}
        return {"taskDefinitionArns": found[::-1][start : start + 2], **more}

    def _describe_task_definition(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"taskDefinition": self.definitions[request["taskDefinition"]]}

    def _run_task(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.start_failures:
            return {"tasks": [], "failures": self.start_failures}
        assert request["taskDefinition"] in self.definitions
        arn = f"{ARN}:task/{self.name}/{len(self.tasks) + 1:04x}"
        self.tasks[arn] = {"end": self.seconds + self.task_s, "status": "RUNNING"} | request
        return {"tasks": [{"taskArn": arn}], "failures": []}

    def _describe_tasks(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"tasks": [self._task(arn) for arn in request["tasks"]], "failures": []}

    def _task(self, arn: str) -> dict[str, Any]:
        if arn == CRASHED:
            containers = [{"name": "web", "exitCode": 0}, {"name": "nginx", "exitCode": 3}]
            return {"taskArn": arn, "lastStatus": "STOPPED", "containers": containers}
        task = self.tasks[arn]
        if task["status"] != "STOPPED" and self.seconds < task["end"]:
            return {"taskArn": arn, "lastStatus": "RUNNING"}
        (container, *_) = self.definitions[task["taskDefinition"]]["containerDefinitions"]
        code = {} if self.exit_code is None else {"exitCode": self.exit_code}
        stopped = {"taskArn": arn, "lastStatus": "STOPPED", "containers": [{"name": container["name"], **code}]}
        return stopped | self.task

    def _stop_task(self, request: dict[str, Any]) -> dict[str, Any]:
        self.tasks[request["task"]] |= {"status": "STOPPED", "reason": request["reason"]}
        return {}

    def _list_tasks(self, request: dict[str, Any]) -> dict[str, Any]:
        assert request == {"cluster": self.name, "serviceName": self.name, "desiredStatus": "STOPPED"}
        return {"taskArns": [CRASHED] if self.broken else []}

    def _settle(self) -> None:
        """End the rollout if it has taken long enough."""
        if self.service["rollout"] != "IN_PROGRESS" or self.seconds < self.service["since"] + self.rollout_s:
            return
        if self.running not in self.broken:
            self._stable = self.service["taskDefinition"]
            self.service["rollout"] = "COMPLETED"
        elif self.breaker:
            self.service |= {"taskDefinition": self._stable, "since": self.seconds}
        else:
            self.service["rollout"] = "FAILED"
        self._remember()

    def _remember(self) -> None:
        self._history.append((self.seconds, copy.deepcopy(self.service)))


class _Event(Exception):
    def __init__(self, run: Callable[[], None]) -> None:
        self.run = run


class _Answer:
    """The HTTP response, of which botocore reads the status."""

    def __init__(self, status: int) -> None:
        self.status_code = status
