"""Kubernetes manifests: rendered, valid, and with the numbers of the code."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from config.env import KEYS, read
from config.keys import PROBE_CONNECTIONS
from tests.support.configuration import FULL
from tests.support.paths import ROOT

BASE = ROOT / "deploy" / "kubernetes" / "base"
OVERLAY = ROOT / "deploy" / "kubernetes" / "overlays" / "example"
# Kinds of the Prometheus operator.
WITHOUT_SCHEMA = {"PodMonitor"}


def documents(folder: Path) -> list[dict[str, Any]]:
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    files = [folder / name for name in listed if (folder / name).is_file()]
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


DOCUMENTS = [*documents(BASE), *documents(OVERLAY)]


def find(kind: str, name: str = "app") -> dict[str, Any]:
    (found,) = (one for one in DOCUMENTS if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return found


def settings(folder: Path) -> dict[str, str]:
    """Return the environment that a kustomization's generator gives to the containers."""
    generators = yaml.safe_load((folder / "kustomization.yaml").read_text())["configMapGenerator"]
    (literals,) = (one["literals"] for one in generators if one["name"] == "settings")
    return dict(literal.split("=", 1) for literal in literals)


def pod(kind: str, name: str = "app") -> dict[str, Any]:
    spec = find(kind, name)["spec"]
    return (spec["jobTemplate"]["spec"] if kind == "CronJob" else spec)["template"]["spec"]


POD = pod("Deployment")
PODS = [POD, pod("Job", "migrate"), pod("CronJob", "housekeeping")]
(APP,) = POD["containers"]
(NGINX,) = POD["initContainers"]


@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
def test_each_manifest_is_valid(version):
    for document in DOCUMENTS:
        if document["kind"] not in WITHOUT_SCHEMA:
            kubernetes_validate.validate(document, version, strict=True)


def test_a_wrong_manifest_is_not_valid():
    wrong = find("PodDisruptionBudget") | {"spec": {"maxUnavailabel": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.29", strict=True)


def test_the_example_renders():
    """Each container has the overlay's image and settings, and the whole is valid."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("there is no kubectl in the PATH; in CI, make lint-delivery renders it")
    rendered = subprocess.run([kubectl, "kustomize", OVERLAY], capture_output=True, text=True, check=False)
    assert rendered.returncode == 0, rendered.stderr
    found = list(yaml.safe_load_all(rendered.stdout))
    assert {(one["kind"], one["metadata"]["name"]) for one in found if one["kind"] != "ConfigMap"} == {
        (one["kind"], one["metadata"]["name"]) for one in DOCUMENTS
    }
    for document in found:
        assert document["metadata"]["namespace"] == "app-staging"
        if document["kind"] not in WITHOUT_SCHEMA:
            kubernetes_validate.validate(document, "1.29", strict=True)
    (given,) = (one for one in found if one["metadata"]["name"].startswith("settings-"))
    assert given["data"] == settings(BASE) | settings(OVERLAY)
    assert set(re.findall(r"image: (\S+)", rendered.stdout)) == {"registry.example.org/app:v0.1.0"}
    assert set(re.findall(r"name: (settings-\S+)", rendered.stdout)) == {given["metadata"]["name"]}


def test_the_application_starts_with_these_settings():
    """With those of the two secrets; and a pod too many for the database is refused."""
    secrets = {name: FULL[name] for name in ("SECRET_KEY", "DATABASE_URL")}
    given = settings(BASE) | settings(OVERLAY) | secrets
    assert given.keys() <= KEYS.keys()
    assert read(given)("NUM_PROXIES") == 2

    most = find("HorizontalPodAutoscaler")["spec"]["maxReplicas"]
    surge = find("Deployment")["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    assert int(given["WEB_REPLICAS"]) == most + surge
    workers, threads = int(given["WEB_CONCURRENCY"]), KEYS["GUNICORN_THREADS"].default
    used = (most + surge) * workers * (threads + PROBE_CONNECTIONS)
    assert used + KEYS["DATABASE_RESERVED_CONNECTIONS"].default <= int(given["DATABASE_MAX_CONNECTIONS"])


def test_a_pod_leaves_the_balance_within_its_drain_and_is_not_restarted_for_a_database():
    drain = KEYS["DRAIN_SECONDS"].default
    readiness, liveness = APP["readinessProbe"], APP["livenessProbe"]

    assert readiness["periodSeconds"] * readiness["failureThreshold"] < drain
    assert readiness["httpGet"]["path"] == "/readyz/"
    # What does not depend on the database.
    assert {APP[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness")} == {"/livez/"}
    assert liveness["periodSeconds"] * liveness["failureThreshold"] > KEYS["WORKER_TIMEOUT"].default
    # The sidecar that ends after the application.
    assert NGINX["restartPolicy"] == "Always"


def test_no_container_may_more_than_it_needs():
    for spec in PODS:
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["runAsUser"] == 10001
        assert not spec["automountServiceAccountToken"]
        for container in [*spec["containers"], *spec.get("initContainers", ())]:
            allowed = container["securityContext"]
            assert allowed["readOnlyRootFilesystem"]
            assert not allowed["allowPrivilegeEscalation"]
            assert allowed["capabilities"] == {"drop": ["ALL"]}
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}  # noqa: S108  a volume
            assert container["resources"]["limits"]["memory"]
    owners = [spec for spec in PODS if "app-migration" in str(spec)]
    assert owners == [pod("Job", "migrate")]


def test_only_requests_and_metrics_come_in():
    everything, web = find("NetworkPolicy"), find("NetworkPolicy", "app-web")
    requests, metrics = web["spec"]["ingress"]

    assert everything["spec"] == {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": []}
    assert requests == {"ports": [{"port": NGINX["ports"][0]["containerPort"]}]}
    assert metrics["ports"] == [{"port": KEYS["METRICS_PORT"].default}]
    assert "namespaceSelector" in metrics["from"][0]
    ports = {port["name"]: port["containerPort"] for port in APP["ports"]}
    assert ports == {"metrics": KEYS["METRICS_PORT"].default, "gunicorn": KEYS["PORT"].default}
    assert find("PodMonitor")["spec"]["podMetricsEndpoints"][0]["port"] in ports
    assert find("Service")["spec"]["ports"][0]["targetPort"] == NGINX["ports"][0]["name"]


def test_housekeeping_is_daily_and_never_twice_at_once():
    spec = find("CronJob", "housekeeping")["spec"]
    minute, hour, *days = spec["schedule"].split()

    assert (minute.isdigit(), hour.isdigit(), days) == (True, True, ["*", "*", "*"])
    assert spec["concurrencyPolicy"] == "Forbid"
    assert pod("CronJob", "housekeeping")["containers"][0]["args"][1:] == ["manage.py", "housekeeping", "--verify"]


def test_the_commands_are_those_of_ecs():
    migration = yaml.safe_load((ROOT / "deploy" / "ecs" / "migrate.json").read_text())
    assert pod("Job", "migrate")["containers"][0]["args"] == migration["containerDefinitions"][0]["command"]


def test_nginx_is_that_of_the_image():
    ecs = yaml.safe_load((ROOT / "deploy" / "ecs" / "web.json").read_text())["containerDefinitions"][1]
    assert (NGINX["image"], NGINX["args"]) == (APP["image"], ecs["command"])
