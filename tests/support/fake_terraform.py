"""Stand-in for a Terraform that is missing, or its provider: it prints what it skips, and makes what later steps need.

    python -m tests.support.fake_terraform -chdir=deploy/ecs/terraform/network apply ...

Of each root it makes those resources, by boto3, that the commands of the page need, and prints the outputs. It proves
nothing of the Terraform that is skipped.
"""

# A command line: it prints, and reads its environment.
# ruff: noqa: TID251

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import boto3

from tests.support.paths import ROOT

SUBJECTS = "repo:octo-org@123456/octo-repo@456789"
SKIPPED = "SKIPPED, Terraform or its provider is not here:"


class StandIn:
    """One root with one environment's outputs, which it keeps in a file."""

    def __init__(self, root: Path) -> None:
        # Where Terraform keeps its own, and git looks away.
        self.folder = root / ".terraform"
        self.folder.mkdir(exist_ok=True)
        self.root, self.kept = root, self.folder / "outputs.json"
        self.outputs: dict[str, Any] = json.loads(self.kept.read_text()) if self.kept.exists() else {}

    def init(self, words: list[str]) -> None:
        """Point to a state: that of the key."""
        (key,) = [word.rpartition("key=")[2] for word in words if "=key=" in word]
        state = self.folder / f"{key.replace('/', '-')}.json"
        if not state.exists():
            state.write_text("{}")
        self.kept.unlink(missing_ok=True)
        self.kept.symlink_to(state.name)

    def apply(self, words: list[str]) -> None:
        """Make the root's resources, unless they are made."""
        if self.outputs:
            print("No changes.")
            return
        self.outputs = getattr(self, f"_{self.root.name}")(words)
        self.kept.resolve().write_text(json.dumps(self.outputs))

    def _account(self, _: list[str]) -> dict[str, Any]:
        repository = client("ecr").create_repository(repositoryName="app", imageTagMutability="IMMUTABLE")
        return {
            "image_repository": repository["repository"]["repositoryUri"],
            "publish_role": role("app-publish", "ref:refs/heads/main"),
        }

    def _network(self, _: list[str]) -> dict[str, Any]:
        vpc = client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        made = [
            client("ec2").create_subnet(VpcId=vpc, CidrBlock=f"10.0.{part}.0/24", AvailabilityZone=f"{region()}{zone}")
            for part, zone in ((0, "a"), (1, "b"))
        ]
        subnets = [subnet["Subnet"]["SubnetId"] for subnet in made]
        return {"network": {"vpc_id": vpc, "public_subnet_ids": subnets, "private_subnet_ids": subnets}}

    def _environment(self, words: list[str]) -> dict[str, Any]:
        files = [self.root / word.removeprefix("-var-file=") for word in words if word.startswith("-var-file=")]
        text, network = files[0].read_text(), json.loads(files[1].read_text())
        environment, domain = (
            re.findall(rf'^{key} += "(.+)"', text, re.MULTILINE)[0] for key in ("environment", "domain")
        )
        name = f"app-{environment}"
        rds = client("rds")
        rds.create_db_subnet_group(
            DBSubnetGroupName=name, DBSubnetGroupDescription="-", SubnetIds=network["private_subnet_ids"]
        )
        database = rds.create_db_instance(
            DBInstanceIdentifier=name,
            DBInstanceClass="db.t4g.small",
            Engine="postgres",
            AllocatedStorage=20,
            MasterUsername="master",
            ManageMasterUserPassword=True,
            DBName="app",
            DBSubnetGroupName=name,
        )["DBInstance"]
        secrets = client("secretsmanager")
        client("logs").create_log_group(logGroupName=f"/ecs/{name}")
        client("dynamodb").create_table(
            TableName=f"{name}-deployments",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        )
        balancer = client("elbv2").create_load_balancer(Name=name, Subnets=network["public_subnet_ids"])
        group = client("ec2").create_security_group(GroupName=name, Description="-", VpcId=network["vpc_id"])["GroupId"]
        networking = {"subnets": network["private_subnet_ids"], "securityGroups": [group]}
        ecs = client("ecs")
        ecs.create_cluster(clusterName=name)
        definition = ecs.register_task_definition(
            family=name, containerDefinitions=[{"name": "web", "image": "none", "memory": 64}]
        )["taskDefinition"]["taskDefinitionArn"]
        ecs.create_service(
            cluster=name,
            serviceName=name,
            taskDefinition=definition,
            desiredCount=0,
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": networking},
        )
        target = json.loads((ROOT / "deploy/ecs/example.json").read_text()) | {
            "environment": environment,
            "region": region(),
            "repository": client("ecr").describe_repositories()["repositories"][0]["repositoryUri"],
            "cluster": name,
            "service": name,
            "url": f"https://{domain}",
            "allowed_hosts": domain,
            "app_secret": secrets.create_secret(Name=f"app/{environment}/app")["ARN"],
            "migration_secret": secrets.create_secret(Name=f"app/{environment}/migration")["ARN"],
            "master_secret": database["MasterUserSecret"]["SecretArn"],
            "database_address": database["Endpoint"]["Address"],
            "cache_secret": "",
            "log_group": f"/ecs/{name}",
            "lock_table": f"{name}-deployments",
            "requires": "sha" if environment == "staging" else "staged",
            "marks": "staged" if environment == "staging" else "",
        }
        return {
            "deployment": json.dumps(target),
            "load_balancer": balancer["LoadBalancers"][0]["DNSName"],
            "deploy_role": role(f"{name}-deploy", f"environment:{environment}"),
            "rollback_role": role(f"{name}-rollback", f"environment:{environment}-rollback"),
        }


def region() -> str:
    return os.environ["AWS_REGION"]


def client(service: str) -> Any:
    return boto3.client(service, region_name=region())


def role(name: str, subject: str) -> str:
    """Make a role that takes a job's token; return its ARN."""
    conditions = {"StringEquals": {"token.actions.githubusercontent.com:sub": [f"{SUBJECTS}:{subject}"]}}
    policy = {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity", "Condition": conditions}]}
    arn: str = client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(policy))["Role"]["Arn"]
    return arn


def main(words: list[str]) -> None:
    folder, command, *rest = words
    root = StandIn(Path(folder.removeprefix("-chdir=")))
    if command == "output":
        value = root.outputs[rest[-1]]
        print(value if rest[0] == "-raw" else json.dumps(value), end="")
        return
    print(f"{SKIPPED} terraform {command} of {root.root.name}")
    {"init": root.init, "apply": root.apply}[command](rest)


if __name__ == "__main__":
    main(sys.argv[1:])
