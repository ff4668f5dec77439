"""Run a management command in the deployed environment: one ECS task of the service's own revision.

    python -m deploy.run_task [--to FILE] [--pass NAME] -- manage.py createsuperuser --noinput --username ann

The task has the service's image, settings, secrets and network, so it runs as the serving role; with `--owner` it is one of
the migration's definition, whose commands may log in as the owner of the tables (`manage.py database_status`). The command's
log is printed when it has ended, and its exit code is this program's. SIGINT and SIGTERM stop the task.

`--pass` passes a variable of this shell to the command. Whoever may describe tasks in the account sees its value for an
hour.
"""

# A command line tool: it prints, and reads its environment.
# ruff: noqa: T201, TID251

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.deploy import Clients, connect, describe_service
from deploy.images import DeliveryError, aws_errors
from deploy.target import Target
from deploy.tasks import interrupted_by_signals

LIMIT_S = 60 * 60


def newest(clients: Clients, family: str) -> str:
    """Return the newest revision of a task definition. Raises: DeliveryError if there is none."""
    with aws_errors(f"looking for revisions of {family}"):
        found = clients.ecs.list_task_definitions(familyPrefix=family, sort="DESC")["taskDefinitionArns"]
    if not found:
        raise DeliveryError(f"there is no task definition {family}: nothing was deployed yet")
    return found[0]


def run(
    target: Target, clients: Clients, command: Sequence[str], passed: Sequence[str], *, as_owner: bool = False
) -> int:
    """Run the command in a task, print its log, and return its exit code."""
    if command[:1] != ["manage.py"]:
        raise DeliveryError("the command must begin with manage.py")
    missing = [name for name in passed if name not in os.environ]
    if missing:
        raise DeliveryError(f"{', '.join(missing)} cannot be passed: not set")
    with aws_errors("describing the service"):
        service = describe_service(clients.ecs, target)
    container = "migrate" if as_owner else "web"
    override = {
        "name": container,
        "command": ["python", *command],
        "environment": [{"name": name, "value": os.environ[name]} for name in passed],
    }
    outcome = clients.tasks.run(
        newest(clients, f"{target.service}-migrate") if as_owner else service["taskDefinition"],
        container,
        LIMIT_S,
        networkConfiguration=service["networkConfiguration"],
        overrides={"containerOverrides": [override]},
    )
    print(f"{command[1] if command[1:] else 'manage.py'} ended: {outcome.reason}")
    return 1 if outcome.code is None else outcome.code


def main(arguments: Sequence[str], clients: Callable[[Target], Clients] = connect) -> int:
    """Run the command line; return the command's exit code, or 1."""
    parser = argparse.ArgumentParser(description="Run a management command in the deployed environment.")
    parser.add_argument("--to", type=Path, help="a file with the target (default: the variable DEPLOYMENT)")
    parser.add_argument("--pass", action="append", default=[], dest="passed", help="a variable of this shell")
    parser.add_argument("--owner", action="store_true", help="let it log in as the owner of the tables")
    parser.add_argument("command", nargs="+", help="manage.py and its arguments, after --")
    options = parser.parse_args(arguments)
    try:
        target = Target.read(options.to)
        with interrupted_by_signals():
            return run(target, clients(target), options.command, options.passed, as_owner=options.owner)
    except (DeliveryError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("error: interrupted; the task was stopped if it had been started", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
