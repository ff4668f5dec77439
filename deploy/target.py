"""The deployment target, Terraform's output `deployment`, and the task definitions rendered with it."""

# Part of command line tools: it prints, and reads their environment.
# ruff: noqa: T201, TID251

import json
import os
import re
import string
import sys
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from deploy.images import DeliveryError

TEMPLATES = Path(__file__).resolve().parent / "ecs"
LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
MAY_BE_EMPTY = {"cache_secret", "marks", "replica_address"}
URL = re.compile(rf"https?://{LABEL}(?:\.{LABEL})*(?::\d+)?")


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
    # Of deploy/prepare_database.py: the secret of RDS's master, who may read it, and where the roles are made.
    master_secret: str
    prepare_execution_role: str
    database_address: str
    database_name: str
    # Where the replica answers; empty in an environment without one.
    replica_address: str = ""
    log_group: str
    # The DynamoDB table whose one item is held by the deployment at work.
    lock_table: str
    # The budget of connections (connections_fit in config/keys.py): max_connections, and the most tasks that run
    # at once, which a deployment doubles.
    max_connections: int
    replicas: int
    # The secret with REDIS_URL; empty, so no limit on requests, in an environment without Terraform's `cache`.
    cache_secret: str
    # The image must have the tag <requires>-<commit>: `sha` for staging, `staged` for production.
    requires: str
    # A successful deployment adds the tag <marks>-<commit>: `staged` in staging; empty, so none, in production.
    marks: str

    @classmethod
    def read(cls, path: Path | None) -> "Target":
        """Read a file, or the variable DEPLOYMENT. Raises: DeliveryError, OSError."""
        text = path.read_text() if path else os.environ.get("DEPLOYMENT", "")
        if not text:
            raise DeliveryError("DEPLOYMENT is not set: it is Terraform's output `deployment`")
        return cls.parse(text)

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Parse JSON. Raises: one DeliveryError that names every missing and malformed key."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise DeliveryError(f"the deployment's target is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise DeliveryError("the deployment's target must be a JSON object")
        types = {part.name: part.type for part in fields(cls)}
        required = {part.name for part in fields(cls) if part.default is MISSING}
        problems = [f"{name} is missing" for name in sorted(required - values.keys())]
        # A target of today, read by the code of an earlier release.
        for name in sorted(values.keys() - types.keys()):
            print(f"note: the deployment's target has {name}, which this version does not know", file=sys.stderr)
        for name in sorted(types.keys() & values.keys()):
            if not isinstance(values[name], types[name]) or isinstance(values[name], bool):  # type: ignore[arg-type]  # no name of a type
                problems.append(f"{name} must be of type {getattr(types[name], '__name__', types[name])}")
            elif values[name] == "" and name not in MAY_BE_EMPTY:
                problems.append(f"{name} is empty")
        if not problems and not URL.fullmatch(values["url"]):
            problems.append("url must be https://HOST and nothing more, and HOST a name that DNS can have")
        if problems:
            raise DeliveryError(f"the deployment's target is invalid: {', '.join(problems)}")
        return cls(**{name: values[name] for name in types.keys() & values.keys()})


def render(template: str, target: Target, image: str) -> dict[str, Any]:
    """Return the task definition rendered from a template in `deploy/ecs/`, without the secrets that the target lacks."""
    path = TEMPLATES / template
    values = {part.name: getattr(target, part.name) for part in fields(target)} | {"image": image}

    def fill(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: fill(value) for key, value in node.items()}
        if isinstance(node, list):
            return [value for value in map(fill, node) if not isinstance(value, dict) or value.get("valueFrom") != ""]
        return string.Template(node).substitute(values) if isinstance(node, str) else node

    try:
        rendered: dict[str, Any] = fill(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError) as error:
        raise DeliveryError(f"rendering {path.name}: {type(error).__name__}: {error}") from error
    return rendered
