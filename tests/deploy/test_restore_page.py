"""Commands of docs/restore.md, run in order against moto."""

import re

import boto3
import pytest

from tests.support import aws_account
from tests.support.aws import REGION, environment
from tests.support.aws_account import NAME, run
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "restore.md"


@pytest.fixture
def aws(moto, monkeypatch) -> dict[str, str]:
    """The variables of the account."""
    variables = environment(moto.url) | {"AWS_DEFAULT_REGION": REGION}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    aws_account.make()
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
