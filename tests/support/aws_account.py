"""An account on moto with the instance and the service that Terraform makes, and documents' commands run in it."""

import subprocess
import sys
from pathlib import Path

import boto3

from tests.support.paths import ROOT

NAME = "app-staging"


def make() -> None:
    """Make the network, the database and the service, with two tasks, in the account that the variables name."""
    network = boto3.client("ec2")
    vpc = network.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = network.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    group = network.create_security_group(GroupName="database", Description="-", VpcId=vpc)["GroupId"]
    rds = boto3.client("rds")
    rds.create_db_subnet_group(DBSubnetGroupName=NAME, DBSubnetGroupDescription="-", SubnetIds=[subnet])
    rds.create_db_parameter_group(DBParameterGroupName=NAME, DBParameterGroupFamily="postgres18", Description="-")
    rds.create_db_instance(
        DBInstanceIdentifier=NAME,
        DBInstanceClass="db.t4g.small",
        Engine="postgres",
        EngineVersion="18",
        AllocatedStorage=20,
        MasterUsername="master",
        ManageMasterUserPassword=True,
        DBSubnetGroupName=NAME,
        DBParameterGroupName=NAME,
        VpcSecurityGroupIds=[group],
        DeletionProtection=True,
        BackupRetentionPeriod=14,
    )
    ecs = boto3.client("ecs")
    ecs.create_cluster(clusterName=NAME)
    ecs.register_task_definition(family=NAME, containerDefinitions=[{"name": "web", "image": "web", "memory": 64}])
    awsvpc = {"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [group]}}
    ecs.run_task(cluster=NAME, taskDefinition=NAME, launchType="FARGATE", count=2, networkConfiguration=awsvpc)
    ecs.create_service(cluster=NAME, serviceName=NAME, taskDefinition=NAME, desiredCount=2)


def run(blocks: list[str], variables: dict[str, str]) -> None:
    cli = f'aws() {{ "{sys.executable}" -m tests.support.aws_cli "$@"; }}\n'
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", cli + "\n".join(blocks)],
        cwd=ROOT,
        env=variables | {"PATH": str(Path(sys.executable).parent) + ":/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
