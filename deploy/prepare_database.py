"""Make the database's roles in an environment, and rotate its secrets: `manage.py prepare_database` in an ECS task.

    python -m deploy.prepare_database --image sha-<commit> [--to FILE] [--rotate KEY | --back KEY]
    python -m deploy.prepare_database --set KEY [--to FILE]

Both secrets get a value first, if they have none: a SECRET_KEY, and two URLs with passwords that nobody has seen. The task
alone reads the secret of RDS's master, by an execution role of its own. Where the target has a replica, the application's
secret gets REPLICA_DATABASE_URL, which always has the login of DATABASE_URL, as roles and passwords are replicated.

`--rotate` writes a version that is not current (AWSPENDING), and makes it current when the task has set the password that is
in it; a task that fails leaves nothing to take back.

- DATABASE_URL names one of two roles by turns, `app` and `app_2`. The one that serves keeps its password until the next
  rotation, so at no moment is a login refused that the current version, or the one before it, has.
- MIGRATION_DATABASE_URL has one role, which owns the tables: the lock keeps deployments, which alone use it, away meanwhile.
- SECRET_KEY needs no task: the old one becomes SECRET_KEY_FALLBACKS, and the next deployment reads both.

`--back` makes the version before the current one again (AWSPREVIOUS), and gives its passwords to the roles. `--set` puts the
value of a variable of this shell into the application's secret.
"""

# A command line tool: it prints, and reads its environment.
# ruff: noqa: T201, TID251

import argparse
import contextlib
import json
import os
import secrets
import sys
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from deploy.deploy import Clients, connect, describe_service
from deploy.images import CLIENT_CONFIG, DeliveryError, aws_errors
from deploy.target import Target, render
from deploy.tasks import interrupted_by_signals

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

APPLICATION, OWNER, KEY = "DATABASE_URL", "MIGRATION_DATABASE_URL", "SECRET_KEY"
REPLICA = "REPLICA_DATABASE_URL"
CURRENT, PREVIOUS, PENDING = "AWSCURRENT", "AWSPREVIOUS", "AWSPENDING"
LIMIT_S = 10 * 60


def fill(client: "SecretsManagerClient", target: Target) -> None:
    """Give a value to each of the two secrets that has none."""

    def url(user: str) -> str:
        return f"postgres://{user}:{secrets.token_urlsafe(32)}@{target.database_address}:5432/{target.database_name}"

    application = {"SECRET_KEY": secrets.token_urlsafe(64), APPLICATION: url(target.database_name)}
    values = {target.app_secret: json.dumps(application), target.migration_secret: url(f"{target.database_name}_owner")}
    for arn, value in values.items():
        with aws_errors(f"filling {arn}"):
            if not client.describe_secret(SecretId=arn).get("VersionIdsToStages"):
                client.put_secret_value(SecretId=arn, SecretString=value)
                print(f"   filled {arn}")


def with_replica(target: Target, values: dict[str, str]) -> dict[str, str]:
    """Return the application's values with the replica's URL, or without it where there is no replica."""
    others = {key: value for key, value in values.items() if key != REPLICA}
    if not target.replica_address:
        return others
    return others | {
        REPLICA: values[APPLICATION].replace(f"@{target.database_address}:", f"@{target.replica_address}:")
    }


def add_replica(client: "SecretsManagerClient", target: Target) -> None:
    """Bring the replica's URL in the application's secret up to date."""
    arn = target.app_secret
    with aws_errors(f"setting {REPLICA} in {arn}"):
        values = json.loads(client.get_secret_value(SecretId=arn, VersionStage=CURRENT)["SecretString"])
        changed = with_replica(target, values)
        if changed == values:
            return
        client.put_secret_value(SecretId=arn, SecretString=json.dumps(changed))
    print(f"   {REPLICA} is {'new' if REPLICA in changed else 'gone'} in {arn}: deploy the image that runs")


def write(client: "SecretsManagerClient", target: Target, key: str) -> tuple[str, str]:
    """Write a version with a new password or SECRET_KEY as AWSPENDING; return the secret's ARN and the version."""
    arn = secret_of(target, key)
    with aws_errors(f"rotating {key} in {arn}"):
        text = client.get_secret_value(SecretId=arn, VersionStage=CURRENT)["SecretString"]
        if key == OWNER:
            text = with_login(text, secrets.token_urlsafe(32))
        else:
            values = json.loads(text)
            if key == APPLICATION:
                values[key] = with_login(values[key], secrets.token_urlsafe(32), other_role)
                values = with_replica(target, values)
            else:
                values |= {KEY: secrets.token_urlsafe(64), "SECRET_KEY_FALLBACKS": values[KEY]}
            text = json.dumps(values)
        version = client.put_secret_value(SecretId=arn, SecretString=text, VersionStages=[PENDING])["VersionId"]
    return arn, version


def make_current(client: "SecretsManagerClient", arn: str, version: str) -> None:
    """Give the label AWSCURRENT to a version; AWS gives AWSPREVIOUS to the one that had it."""
    with aws_errors(f"making {version} current in {arn}"):
        client.update_secret_version_stage(
            SecretId=arn,
            VersionStage=CURRENT,
            MoveToVersionId=version,
            RemoveFromVersionId=version_with(client, arn, CURRENT),
        )


def version_with(client: "SecretsManagerClient", arn: str, label: str) -> str:
    """Return the version that has a label. Raises: DeliveryError if none has."""
    versions = client.describe_secret(SecretId=arn).get("VersionIdsToStages", {})
    found = [version for version, labels in versions.items() if label in labels]
    if not found:
        raise DeliveryError(f"{arn} has no version {label}")
    return found[0]


def put(client: "SecretsManagerClient", target: Target, key: str) -> None:
    """Put the value of a variable of this shell into the application's secret, and make that current."""
    value, arn = os.environ.get(key, ""), target.app_secret
    if key in {APPLICATION, OWNER, KEY}:
        raise DeliveryError(f"{key} is rotated, not set")
    if key == REPLICA:
        raise DeliveryError(f"{key} follows from Terraform's `replicas`: run this without --set")
    if not value:
        raise DeliveryError(f"the variable {key} is not set in this shell")
    with aws_errors(f"setting {key} in {arn}"):
        values = json.loads(client.get_secret_value(SecretId=arn, VersionStage=CURRENT)["SecretString"])
        client.put_secret_value(SecretId=arn, SecretString=json.dumps(values | {key: value}))
    print(f"   {key} is new in {arn}")


def secret_of(target: Target, key: str) -> str:
    """Return the ARN of the secret that has a key."""
    return target.migration_secret if key == OWNER else target.app_secret


def other_role(user: str) -> str:
    """Return the other one of the two roles that serve by turns."""
    return user.removesuffix("_2") if user.endswith("_2") else f"{user}_2"


def with_login(url: str, password: str, role: Callable[[str], str] = str) -> str:
    """Return the URL with another password, and with what `role` makes of its user."""
    parts = urllib.parse.urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{role(credentials.partition(':')[0])}:{password}@{hosts}").geturl()


def prepare(target: Target, clients: Clients, reference: str, key: str = "", version: str = "") -> None:
    """Run the command in a task of the image. Raises: DeliveryError unless its exit code is 0.

    The task gets the current URLs; that of `key`, if there is one, from a version of its secret.
    """
    image = clients.registry.find(reference)
    if image is None:
        raise DeliveryError(f"{target.repository} has no image {reference}")
    with aws_errors("describing the service"):
        network = describe_service(clients.ecs, target)["networkConfiguration"]
    # As the migration's, with another command and the master's login.
    definition = render("migrate.json", target, f"{target.repository}@{image.digest}")
    definition |= {"family": f"{target.service}-prepare", "executionRoleArn": target.prepare_execution_role}
    (container,) = definition["containerDefinitions"]
    container["command"] = ["python", "manage.py", "prepare_database"]
    if key == OWNER:
        container["secrets"] = [{"name": OWNER, "valueFrom": f"{target.migration_secret}:::{version}"}]
    elif key:
        container["secrets"].append({"name": key, "valueFrom": f"{target.app_secret}:{key}::{version}"})
    container["secrets"] += [
        {"name": "DATABASE_MASTER_USER", "valueFrom": f"{target.master_secret}:username::"},
        {"name": "DATABASE_MASTER_PASSWORD", "valueFrom": f"{target.master_secret}:password::"},
    ]
    with aws_errors("registering the task"):
        registered = clients.ecs.register_task_definition(**definition)["taskDefinition"]["taskDefinitionArn"]
    outcome = clients.tasks.run(registered, container["name"], LIMIT_S, networkConfiguration=network)
    if outcome.code != 0:
        raise DeliveryError(f"prepare_database failed: {outcome.reason}")


@contextlib.contextmanager
def locked(clients: Clients) -> Iterator[None]:
    """Hold the environment's lock: a deployment's migration would log in while its password changes."""
    clients.lock.take()
    try:
        yield
    finally:
        clients.lock.release()


def run(target: Target, clients: Clients, client: "SecretsManagerClient", options: argparse.Namespace) -> None:
    """Fill the secrets, or rotate or take back one key, and prepare the database."""
    with locked(clients):
        if options.rotate:
            arn, version = write(client, target, options.rotate)
            if options.rotate != KEY:
                prepare(target, clients, options.image, options.rotate, version)
            make_current(client, arn, version)
            print(f"   {options.rotate} is new in {arn}")
        elif options.back:
            arn = secret_of(target, options.back)
            with aws_errors(f"looking for the version before in {arn}"):
                before = version_with(client, arn, PREVIOUS)
            make_current(client, arn, before)
            print(f"   {arn} is what it was before")
            prepare(target, clients, options.image)
        else:
            fill(client, target)
            prepare(target, clients, options.image)
            add_replica(client, target)
    if KEY in {options.rotate, options.back}:
        print("Now deploy the image that runs: its new tasks read the key.")


def main(
    arguments: Sequence[str],
    clients: Callable[[Target], Clients] = connect,
    secrets_manager: "Callable[[Target], SecretsManagerClient] | None" = None,
) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="Make the database's roles, or rotate a secret.")
    parser.add_argument("--image", help="a tag or a digest in the registry")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--rotate", choices=[APPLICATION, OWNER, KEY], help="what gets a new password, or a new key")
    what.add_argument("--back", choices=[APPLICATION, OWNER, KEY], help="whose secret becomes what it was before")
    what.add_argument("--set", metavar="KEY", dest="key", help="a variable of this shell, for the application's secret")
    parser.add_argument("--to", type=Path, help="a file with the target (default: the variable DEPLOYMENT)")
    options = parser.parse_args(arguments)
    try:
        target = Target.read(options.to)
        with interrupted_by_signals(), aws_errors("connecting to AWS"):
            client = (secrets_manager or connect_to_secrets)(target)
            if options.key:
                put(client, target, options.key)
                print("Now deploy the image that runs: its new tasks read it.")
            else:
                run(target, clients(target), client, options)
    except (DeliveryError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 1
    return 0


def connect_to_secrets(target: Target) -> "SecretsManagerClient":
    """Create the client."""
    return boto3.session.Session(region_name=target.region).client("secretsmanager", config=CLIENT_CONFIG)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
