"""Make the database's roles in an environment, or rotate a role's password: `manage.py prepare_database` in an ECS task.

    python -m deploy.prepare_database --image sha-<commit> [--to FILE] [--rotate KEY]

Both secrets get a value first, if they have none: a SECRET_KEY, and two URLs with passwords that nobody has seen. The task
alone reads the secret of RDS's master, by an execution role of its own.

KEY is DATABASE_URL or MIGRATION_DATABASE_URL: the URL in the secret gets a new password first, and the old one again if the
task fails. Or it is SECRET_KEY, which needs no task: the old one becomes SECRET_KEY_FALLBACKS, and the next deployment reads
both.
"""

# A command line tool: it prints.
# ruff: noqa: T201

import argparse
import json
import secrets
import sys
import urllib.parse
from collections.abc import Callable, Sequence
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


def rotate(client: "SecretsManagerClient", target: Target, key: str) -> Callable[[], None]:
    """Put a new password into the URL of a secret, or a new SECRET_KEY; return the function that takes it back."""
    arn = target.migration_secret if key == OWNER else target.app_secret
    with aws_errors(f"rotating {key} in {arn}"):
        before = text = client.get_secret_value(SecretId=arn)["SecretString"]
        if key == OWNER:
            text = with_password(text, secrets.token_urlsafe(32))
        else:
            values = json.loads(text)
            if key == APPLICATION:
                values[key] = with_password(values[key], secrets.token_urlsafe(32))
            else:
                values |= {KEY: secrets.token_urlsafe(64), "SECRET_KEY_FALLBACKS": values[KEY]}
            text = json.dumps(values)
        client.put_secret_value(SecretId=arn, SecretString=text)
    print(f"   {key} is new in {arn}")

    def take_back() -> None:
        with aws_errors(f"putting the old {key} back into {arn}"):
            client.put_secret_value(SecretId=arn, SecretString=before)
        print(f"   {key} is the old one in {arn} again")

    return take_back


def with_password(url: str, password: str) -> str:
    """Return the URL with another password."""
    parts = urllib.parse.urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{credentials.partition(':')[0]}:{password}@{hosts}").geturl()


def prepare(target: Target, clients: Clients, reference: str) -> None:
    """Run the command in a task of the image. Raises: DeliveryError unless its exit code is 0."""
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
    container["secrets"] += [
        {"name": "DATABASE_MASTER_USER", "valueFrom": f"{target.master_secret}:username::"},
        {"name": "DATABASE_MASTER_PASSWORD", "valueFrom": f"{target.master_secret}:password::"},
    ]
    with aws_errors("registering the task"):
        registered = clients.ecs.register_task_definition(**definition)["taskDefinition"]["taskDefinitionArn"]
    outcome = clients.tasks.run(registered, container["name"], LIMIT_S, networkConfiguration=network)
    if outcome.code != 0:
        raise DeliveryError(f"prepare_database failed: {outcome.reason}")


def run(target: Target, clients: Clients, client: "SecretsManagerClient", reference: str, key: str | None) -> None:
    """Fill the secrets or rotate one password, then prepare the database."""
    if key is None:
        fill(client, target)
        prepare(target, clients, reference)
        return
    take_back = rotate(client, target, key)
    if key == KEY:
        print("Now deploy the image that runs: its new tasks read the key.")
        return
    try:
        prepare(target, clients, reference)
    except (DeliveryError, KeyboardInterrupt):
        take_back()
        raise


def main(
    arguments: Sequence[str],
    clients: Callable[[Target], Clients] = connect,
    secrets_manager: "Callable[[Target], SecretsManagerClient] | None" = None,
) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="Make the database's roles, or rotate the password of one.")
    parser.add_argument("--image", required=True, help="a tag or a digest in the registry")
    parser.add_argument("--rotate", choices=[APPLICATION, OWNER, KEY], help="what gets a new password, or a new key")
    parser.add_argument("--to", type=Path, help="a file with the target (default: the variable DEPLOYMENT)")
    options = parser.parse_args(arguments)
    try:
        target = Target.read(options.to)
        with interrupted_by_signals(), aws_errors("connecting to AWS"):
            client = (secrets_manager or connect_to_secrets)(target)
            run(target, clients(target), client, options.image, options.rotate)
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
