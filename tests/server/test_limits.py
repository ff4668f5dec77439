"""Time limits in order, from the database's lock_timeout to the platform's grace period: each ends before the next."""

import json
import os
import re
import subprocess
import sys

import pytest
import yaml

from apps.core.middleware.probes import TIMEOUT_S
from apps.database.timeouts import RESPONSE_TIMEOUT_S
from apps.users.hashers import BoundedArgon2PasswordHasher
from config.env import KEYS
from devtools import native
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def gunicorn() -> dict[str, str]:
    """Settings of gunicorn by server/gunicorn_conf.py with no key set."""
    settings = {"DJANGO_SETTINGS_MODULE": "config.settings.test", "PATH": os.environ["PATH"]}  # noqa: TID251  a child process needs a PATH
    command = [sys.executable, "-m", "gunicorn", "--print-config", "--config", "server/gunicorn_conf.py"]
    done = subprocess.run([*command, "config.wsgi"], cwd=ROOT, env=settings, text=True, capture_output=True, check=True)
    return dict(re.findall(r"^(\w+) += (.*)$", done.stdout, re.MULTILINE))


def read(path: str) -> str:
    return (ROOT / path).read_text()


def number(pattern: str, path: str) -> float:
    """Return the one number that a file has behind some words."""
    (found,) = re.findall(pattern + r"\D{0,3}(\d+)", read(path))
    return float(found)


GRACES = {
    "ECS, serving": lambda: json.loads(read("deploy/ecs/web.json"))["containerDefinitions"][0]["stopTimeout"],
    "make up with Docker": lambda: float(
        yaml.safe_load(read("compose.local.yml"))["services"]["app"]["stop_grace_period"].removesuffix("s")
    ),
    "one host": lambda: float(
        yaml.safe_load(read("compose.production.yml"))["services"]["app-1"]["stop_grace_period"].removesuffix("s")
    ),
    "Kubernetes": lambda: yaml.safe_load(read("deploy/kubernetes/base/deployment.yaml"))["spec"]["template"]["spec"][
        "terminationGracePeriodSeconds"
    ],
    "make up without": lambda: native.STOP_SECONDS,
    "make image-test": lambda: number(r"docker stop --time", "checks/check-image"),
}


def test_of_a_request(gunicorn):
    """The limit whose error names the reason ends first: PostgreSQL's, the driver's, then gunicorn's and the proxy's."""
    lock, statement = KEYS["LOCK_TIMEOUT"].default, KEYS["STATEMENT_TIMEOUT"].default
    worker, proxy = float(gunicorn["timeout"]), number("proxy_read_timeout", "docker/nginx/nginx.conf")

    assert lock < statement < RESPONSE_TIMEOUT_S < worker <= proxy
    assert (lock, statement, worker) == (2, 5, 30)


@pytest.mark.parametrize("grace", GRACES.values(), ids=GRACES)
def test_of_a_stop(gunicorn, grace):
    drain, graceful = KEYS["DRAIN_SECONDS"].default, float(gunicorn["graceful_timeout"])

    # Requests of 20 s and more end before gunicorn ends them, and a second of the grace is left for the end itself.
    assert graceful > 20
    assert drain + graceful < grace() - 1
    assert (drain, graceful, grace()) == (5, 30, 45)


def test_of_a_stop_of_nginx():
    """It lets every request end, also at a reload, and ends itself within what ECS waits for it."""
    nginx = json.loads(read("deploy/ecs/web.json"))["containerDefinitions"][1]
    finish = number("worker_shutdown_timeout", "docker/nginx/nginx.conf")

    assert nginx["name"] == "nginx"
    assert number("proxy_read_timeout", "docker/nginx/nginx.conf") + 5 < finish < nginx["stopTimeout"]


def test_of_a_probe():
    """A probe's answer comes within what its platform waits, and the platform notices a drain before it is over."""
    network = "deploy/ecs/terraform/environment/network.tf"

    assert TIMEOUT_S < 3 < number(r" timeout +=", network)
    # An instance is out of the load balancer before ECS ends it, also if its last request came just before.
    assert KEYS["DRAIN_SECONDS"].default + 30 <= number("deregistration_delay +=", network)


def test_of_an_idle_connection(gunicorn):
    """Who sends requests hangs up first: on a connection that the other side is closing, one would be lost."""
    application_load_balancer_default = 60

    assert application_load_balancer_default < float(gunicorn["keepalive"])
    assert "idle_timeout" not in read("deploy/ecs/terraform/environment/network.tf")
    assert application_load_balancer_default < number("keepalive_timeout", "docker/nginx/nginx.conf")
    # nginx keeps none to gunicorn.
    assert "proxy_set_header Connection close;" in read("docker/nginx/nginx.conf")


def test_what_gunicorn_is_told(gunicorn):
    assert gunicorn["worker_class"] == "gthread" or "ThreadWorker" in gunicorn["worker_class"]
    assert int(gunicorn["max_requests"]) > int(gunicorn["max_requests_jitter"]) > 0
    assert gunicorn["control_socket_disable"] == "True"
    assert gunicorn["worker_tmp_dir"] == "/dev/shm"  # noqa: S108  gunicorn makes an unguessable file there


def test_passwords_hashed_on_every_thread_fit_a_task(gunicorn):
    """Half of a task's memory is for hashes; the other half for the processes that compute them."""
    task = json.loads(read("deploy/ecs/web.json"))
    [web, _] = task["containerDefinitions"]
    set_there = {each["name"]: each["value"] for each in web["environment"]}
    threads = int(set_there.get("GUNICORN_THREADS", gunicorn["threads"]))
    hasher = BoundedArgon2PasswordHasher()

    hashes_kib = hasher.memory_cost * hasher.parallelism * int(set_there["WEB_CONCURRENCY"]) * threads

    assert hashes_kib <= int(task["memory"]) * 1024 // 2
