"""Prometheus on AWS and the Alertmanager: the labels of the tasks that it finds, and who gets an alert."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.target import Target
from tests.monitoring.queries import ROOT, alerts
from tests.support.monitoring_programs import program

TARGET = Target.parse((ROOT / "deploy" / "ecs" / "example.json").read_text())
CONFIGURATION = yaml.safe_load((ROOT / "deploy" / "ecs" / "prometheus.yml").read_text())
(JOB,) = CONFIGURATION["scrape_configs"]
ALERTMANAGER = ROOT / "monitoring" / "prometheus" / "alertmanager.yml"


def task(task: str, **meta: str) -> dict[str, object]:
    """A target as the discovery of ECS finds it, by the names in Prometheus' documentation."""
    labels = {
        "__meta_ecs_service": "app-staging",
        "__meta_ecs_desired_status": "RUNNING",
        "__meta_ecs_task_arn": f"arn:aws:ecs:eu-central-1:123456789012:task/app-staging/{task}",
    }
    return {"targets": ["10.0.0.1:9464"], "labels": labels | meta}


def test_a_task_gets_the_labels_that_rules_and_routes_expect(tmp_path):
    """By Prometheus' own relabelling, of targets from a file: Debian's Prometheus has no discovery of ECS."""
    found = [
        task("0123"),
        task("4567", __meta_ecs_service="app-production"),
        task("89ab", __meta_ecs_desired_status="STOPPED"),
        task("cdef", __meta_ecs_service="another"),
    ]
    (tmp_path / "targets.json").write_text(json.dumps(found))
    job = {name: value for name, value in JOB.items() if name != "aws_sd_configs"}
    job["file_sd_configs"] = [{"files": [str(tmp_path / "targets.json")]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [job]}))

    # promtool reads for exactly so long.
    for seconds in (1, 5, 30, 120):
        output = promtool("check", "service-discovery", f"--timeout={seconds}s", tmp_path / "prometheus.yml", "app")
        if targets := json.loads(output):
            break

    # promtool goes through a map, in an order of Go's.
    kept = sorted((one["labels"] for one in targets if one.get("labels")), key=lambda labels: labels["instance"])
    assert [{name: labels[name] for name in ("job", "environment", "instance")} for labels in kept] == [
        {"job": "app", "environment": "staging", "instance": "0123"},
        {"job": "app", "environment": "production", "instance": "4567"},
    ]


def test_the_example_finds_the_examples_tasks():
    (discovery,) = JOB["aws_sd_configs"]
    ports = [
        port["containerPort"]
        for container in json.loads((ROOT / "deploy" / "ecs" / "web.json").read_text())["containerDefinitions"]
        for port in container.get("portMappings", [])
        if port["name"] == "metrics"
    ]

    # Names of Prometheus' configuration reference, `aws_sd_config`.
    assert discovery.keys() == {"role", "region", "clusters", "port", "refresh_interval"}
    assert discovery["role"] == "ecs"
    assert discovery["clusters"] == [
        f"arn:aws:ecs:{TARGET.region}:{TARGET.app_secret.split(':')[4]}:cluster/{TARGET.cluster}"
    ]
    assert [discovery["port"]] == ports


def test_prometheus_takes_all_but_the_discovery(tmp_path):
    job = {name: value for name, value in JOB.items() if name != "aws_sd_configs"}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(CONFIGURATION | {"scrape_configs": [job]}))
    (tmp_path / "rules").symlink_to(ROOT / "monitoring" / "prometheus" / "rules")

    assert "SUCCESS" in promtool("check", "config", tmp_path / "prometheus.yml")


def test_alertmanager_takes_the_example():
    assert "SUCCESS" in amtool("check-config", ALERTMANAGER)


@pytest.mark.parametrize("name", alerts())
@pytest.mark.parametrize("environment", ["production", "staging"])
def test_each_alert_goes_to_a_person_or_to_the_mailbox(name, environment):
    severity = alerts()[name]["labels"]["severity"]
    labels = {"alertname": name, "severity": severity, "job": "app", "environment": environment}

    receiver = amtool(
        "config",
        "routes",
        "test",
        f"--config.file={ALERTMANAGER}",
        *(f"{key}={value}" for key, value in labels.items()),
    ).strip()

    assert receiver == (severity if environment == "production" else "ticket")


def test_an_alert_without_labels_is_a_page():
    """The alert that no target is there has no environment."""
    assert (
        amtool("config", "routes", "test", f"--config.file={ALERTMANAGER}", "alertname=MetricsAbsent").strip() == "page"
    )


def promtool(*arguments: str | Path) -> str:
    return run("promtool", *arguments)


def amtool(*arguments: str | Path) -> str:
    return run("amtool", *arguments)


def run(name: str, *arguments: str | Path) -> str:
    package = "prometheus-alertmanager" if name == "amtool" else "prometheus"
    done = subprocess.run([program(name, package), *arguments], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
