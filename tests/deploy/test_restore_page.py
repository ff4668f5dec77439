"""Commands of docs/restore.md, run in order against moto."""

import re
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from tests.support.aws import REGION, environment
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "restore.md"
NAME = "app-staging"


@pytest.fixture
def aws(moto, monkeypatch) -> dict[str, str]:
    """The variables of an account with the instance and the service that Terraform makes."""
    variables = environment(moto.url) | {"AWS_DEFAULT_REGION": REGION}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
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
    ecs.create_service(cluster=NAME, serviceName=NAME, taskDefinition=NAME, desiredCount=2)
    return variables


def test_the_restored_instance_takes_the_place_of_the_broken_one(aws):
    rds, ecs = boto3.client("rds"), boto3.client("ecs")
    (before,) = rds.describe_db_instances()["DBInstances"]
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 4
    *restoring, deleting = blocks

    run(restoring, aws)
    kept = ("DBInstanceClass", "DBSubnetGroup", "VpcSecurityGroups", "DBParameterGroups", "DeletionProtection")
    after = {one["DBInstanceIdentifier"]: one for one in rds.describe_db_instances()["DBInstances"]}
    assert after.keys() == {NAME, f"{NAME}-broken"}
    assert {name: after[NAME][name] for name in kept} == {name: before[name] for name in kept}
    assert after[NAME]["Endpoint"]["Address"] == before["Endpoint"]["Address"]
    assert ecs.describe_services(cluster=NAME, services=[NAME])["services"][0]["desiredCount"] == 0

    run([*restoring[:1], deleting], aws)
    assert [one["DBInstanceIdentifier"] for one in rds.describe_db_instances()["DBInstances"]] == [NAME]
    snapshots = rds.describe_db_snapshots(DBInstanceIdentifier=f"{NAME}-broken", SnapshotType="manual")["DBSnapshots"]
    assert [one["DBSnapshotIdentifier"] for one in snapshots] == [f"{NAME}-broken-final"]


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
