"""The commands of docs/runbook.md that scale the service by hand, run against moto."""

import boto3
import pytest

from tests.support import aws_account
from tests.support.aws import REGION, Moto, environment
from tests.support.docs import Page
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow


def test_the_commands_raise_the_least_number_and_the_wanted_one(tmp_path, monkeypatch):
    blocks = Page(ROOT / "docs/runbook.md").blocks()
    (commands,) = [block.text for block in blocks if block.detail == "tests/deploy/test_scale_by_hand.py"]
    name = aws_account.NAME
    with Moto(tmp_path / "log") as moto:
        variables = environment(moto.url) | {"AWS_DEFAULT_REGION": REGION}
        for key, value in variables.items():
            monkeypatch.setenv(key, value)
        aws_account.make()
        boto3.client("application-autoscaling").register_scalable_target(
            ServiceNamespace="ecs",
            ScalableDimension="ecs:service:DesiredCount",
            ResourceId=f"service/{name}/{name}",
            MinCapacity=2,
            MaxCapacity=6,
        )

        aws_account.run([commands], variables)

        answer = boto3.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="ecs")
        (service,) = boto3.client("ecs").describe_services(cluster=name, services=[name])["services"]
        (scaled,) = answer["ScalableTargets"]
        assert (scaled["MinCapacity"], scaled["MaxCapacity"]) == (4, 6)
        assert service["desiredCount"] == 4
