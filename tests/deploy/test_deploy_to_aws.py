"""Rehearsal of docs/deploy-to-aws.md: every block of the page is run in order, twice, up to a login on a served application.

`make rehearse-aws` prints the walk. What stands in for what:

- AWS: moto; ECS: tests/support/local_ecs.py, whose tasks are processes of this checkout with production's settings;
- RDS: a PostgreSQL with the master that Terraform has asked for, who is no superuser;
- GitHub: tests/support/fake_gh.py, which runs the deployment job's own lines;
- DNS and TLS: an authority of the rehearsal's, and a resolver that knows what Route 53 was told;
- Terraform itself runs, if it and its provider are here. If not, its steps are skipped, aloud, and the rest goes on with
  what tests/support/fake_terraform.py makes of the same names.
"""

# The page's shell has an environment of its own; the walk is printed.
# ruff: noqa: TID251

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import boto3
import pytest

from deploy import tools
from deploy.target import Target
from tests.support import aws
from tests.support.docs import Block, Page
from tests.support.local_ecs import Account, Front, balancer
from tests.support.paths import ROOT
from tests.support.rds import Rds
from tests.support.terraform import Terraform

pytestmark = pytest.mark.long

PAGE = Page(ROOT / "docs" / "deploy-to-aws.md")
HERE = "tests/deploy/test_deploy_to_aws.py"
REGION = "eu-central-1"
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".local", ".terraform", "*.tfvars", "targets", "__pycache__", ".*_cache"
)
# The only step whose second run ends with an error, as the page says.
AGAIN = {"manage.py createsuperuser": "That username is already taken"}
# What the page says of production.
REPEATED = ("3", "4", "5", "6")


class World:
    """The checkout that the page is followed in, the person's shell, and what it reaches."""

    def __init__(self, folder: Path, moto: aws.Moto) -> None:
        self.folder, self.moto = folder, moto
        self.checkout = folder / "checkout"
        self.programs = folder / "programs"
        self.github = folder / "github.json"
        clients = [self.client(name) for name in ("rds", "secretsmanager")]
        self.rds = Rds(folder, *clients)
        self.front = Front(Account(moto.url, REGION, folder, self.rds))

    def client(self, service: str) -> Any:
        keys = {name.lower(): value for name, value in aws.CREDENTIALS.items()}
        return boto3.client(service, region_name=REGION, endpoint_url=self.moto.url, **keys)

    def close(self) -> None:
        self.front.close()
        self.rds.close()

    # --- the checkout

    def clone(self) -> None:
        """Copy this checkout into a repository of its own, with an origin."""
        shutil.copytree(ROOT, self.checkout, ignore=LEFT_OUT, symlinks=True)
        for root in (self.checkout / "deploy/ecs/terraform").iterdir():
            # moto has no host name for each bucket.
            (root / "provider_override.tf").write_text('provider "aws" {\n  s3_use_path_style = true\n}\n')
            main = root / "main.tf"
            main.write_text(main.read_text().replace('backend "s3" {', 'backend "s3" {\n    use_path_style = true'))
        origin = self.folder / "origin"
        person = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
        for words in (
            ["init", "--quiet", "--bare", "--initial-branch=main", str(origin)],
            ["init", "--quiet", "--initial-branch=main"],
            ["add", "--all"],
            [*person, "commit", "--quiet", "--message", "The product"],
            ["remote", "add", "origin", str(origin)],
        ):
            subprocess.run(["/usr/bin/env", "git", *words], cwd=self.checkout, check=True)
        # boto3 is the one of this environment; tests/deploy/test_tools.py shows that no more is needed.
        home = self.checkout / ".local" / "deploy"
        (home / "bin").mkdir(parents=True)
        self._program(home / "bin" / "python", "")
        shutil.copy(tools.LIST, home)

    @staticmethod
    def _program(path: Path, module: str) -> None:
        words = f"-m {module}" if module else ""
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        path.chmod(0o755)

    # --- what the person has installed

    def install(self, port: int, authority: Path) -> dict[str, str]:
        """Make the programs; return the shell's environment."""
        self.programs.mkdir()
        self._program(self.programs / "python3", "")
        self._program(self.programs / "aws", "tests.support.aws_cli")
        self._program(self.programs / "gh", "tests.support.fake_gh")
        self.terraform = self._has_terraform()
        if not self.terraform:
            self._program(self.programs / "terraform", "tests.support.fake_terraform")
        # DNS: the domains that the page serves lead to the load balancer of this machine.
        home, resolver = self.folder / "home", self.folder / "resolver"
        home.mkdir()
        resolver.mkdir()
        (home / ".curlrc").write_text(f'connect-to = "::127.0.0.1:{port}"\ncacert = "{authority}"\n')
        (resolver / "sitecustomize.py").write_text(RESOLVER.format(port=port))
        plugins = os.environ.get("TF_PLUGIN_DIR")
        return {
            "HOME": str(home),
            "CURL_HOME": str(home),
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}:{resolver}",
            "SSL_CERT_FILE": str(authority),
            "GITHUB_STATE": str(self.github),
            "GITHUB_REPOSITORY": "octo-org/octo-repo",
            "GIT_COMMITTER_NAME": "Ann",
            "GIT_COMMITTER_EMAIL": "ann@example.org",
            "CHECKPOINT_DISABLE": "1",
            "TF_CLI_ARGS": "-no-color",
            "TF_CLI_ARGS_init": f"-input=false {f'-plugin-dir={plugins}' if plugins else ''}",
            # Who runs the page reads the plan and types yes.
            "TF_CLI_ARGS_apply": "-input=false -auto-approve",
            **{name: value for name, value in aws.environment(self.moto.url).items() if name != "AWS_REGION"},
            "AWS_ENDPOINT_URL_ECS": self.front.url,
        }

    @staticmethod
    def _has_terraform() -> bool:
        """Return whether Terraform is here with its provider, and say so if not. On GitHub it must be."""
        program = shutil.which("terraform")
        if program is None:
            print("SKIPPED ALOUD: there is no terraform in the PATH, so no step of Terraform's runs.")
            return False
        try:
            Terraform("network", Path(tempfile.mkdtemp()) / "ecs")
        except pytest.skip.Exception as missing:
            print(f"SKIPPED ALOUD: no step of Terraform's runs. {missing}")
            return False
        return True


# In each Python process of the shell: only what Route 53 was told has an address.
RESOLVER = """
import socket
_real = socket.getaddrinfo
def _getaddrinfo(host, port, *rest, **named):
    if str(host).endswith(".example.org"):
        host, port = "127.0.0.1", {port}
    return _real(host, port, *rest, **named)
socket.getaddrinfo = _getaddrinfo
"""


class Shell:
    """The person's bash: what a block defines, the next ones have. A command that fails is noted, as by `set -e`."""

    def __init__(self, checkout: Path, environment: dict[str, str]) -> None:
        self._block = checkout.parent / "block.sh"
        self._process = subprocess.Popen(
            ["/bin/bash", "--noprofile", "--norc"],
            cwd=checkout,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._send("set -E; trap 'failed+=(\"$BASH_COMMAND\")' ERR")

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def run(self, text: str) -> tuple[str, list[str]]:
        """Run a block; return what it printed, and the commands that failed."""
        self._block.write_text(text)
        self._send(f"failed=(); source {self._block} </dev/null; printf '%s\\n' '' '@@' \"${{failed[@]}}\" '@@@'")
        assert self._process.stdout is not None
        printed: list[str] = []
        failed: list[str] = []
        into = printed
        for line in self._process.stdout:
            if line == "@@@\n":
                return "".join(printed), [each for each in failed if each]
            if line == "@@\n":
                into = failed
                continue
            into.append(line.rstrip("\n") if into is failed else line)
            if into is printed:
                print(f"    {line}", end="", flush=True)
        raise AssertionError("the shell has ended")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._send("exit")
        self._process.communicate()


def steps() -> list[tuple[str, Block]]:
    """Return the page's blocks with their section's number."""
    parts = re.split(r"^## ", PAGE.text, flags=re.MULTILINE)[1:]
    return [(part.partition(".")[0], block) for part in parts for block in PAGE.blocks() if block.text in part]


class Walk:
    """The page, followed block by block."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.printed: list[tuple[str, str]] = []

    def follow(self, title: str, *, again: bool) -> None:
        """Run every block in order; after the values of production its sections run once more."""
        for section, block in steps():
            self.run(section, block, title, again=again)
            if section == "9" and "reviewers" in block.text:
                for number, repeated in steps():
                    if number in REPEATED:
                        self.run(number, repeated, f"{title}, production", again=again)

    def run(self, section: str, block: Block, title: str, *, again: bool) -> None:
        if block.mark == "not run":
            print(f"\n=== {title}, step {section}: not run here: {block.detail}")
            return
        print(f"\n=== {title}, step {section}:\n{block.text}--->")
        start = time.monotonic()
        output, failed = self.shell.run(block.text)
        print(f"<--- {time.monotonic() - start:.0f} s")
        self.printed.append((block.text, output))
        expected = next((text for command, text in AGAIN.items() if again and command in block.text), None)
        if expected is None:
            assert failed == [], output[-2000:]
        else:
            assert expected in output
            # The block's own line counts as a command, too.
            assert [each for each in failed if "source" not in each][1:] == []
            assert failed


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("rehearsal")
    # The server's user must be able to enter.
    folder.chmod(0o755)
    with aws.Moto(folder / "moto.log", MOTO_ACM_VALIDATION_WAIT="0") as moto:
        world = World(folder, moto)
        world.clone()
        yield world
        world.close()


@pytest.fixture(scope="module")
def walked(world) -> Iterator[Walk]:
    """The page, followed twice."""
    key, certificate = world.folder / "key.pem", world.folder / "certificate.pem"
    names = "subjectAltName=DNS:staging.example.org,DNS:api.example.org"
    subprocess.run(
        [
            *("/usr/bin/env", "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=rehearsal", "-addext", names, "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    with (
        balancer(world.front, certificate, key) as port,
        Shell(world.checkout, world.install(port, certificate)) as shell,
    ):
        walk = Walk(shell)
        walk.follow("first run", again=False)
        walk.follow("second run", again=True)
        yield walk


def test_the_page_leads_from_an_empty_account_to_a_login_and_may_be_followed_again(walked):
    logins = [output for text, output in walked.printed if "/api/v1/users/me/" in text]

    assert len(logins) == 2
    assert all('"username":"ann"' in output.replace(" ", "") for output in logins)


def test_the_commands_ran_in_tasks_of_each_environment(world, walked):
    """`make prepare-database`, the deployments' migrations, and `make run-task`; the second walk ran them again."""
    for name in ("app-staging", "app-production"):
        requests = world.front.services[name].called("RunTask")
        families = [each["taskDefinition"].rpartition("/")[2].partition(":")[0] for each in requests]

        assert families.count(f"{name}-prepare") == 2
        assert f"{name}-migrate" in families
        # The superuser of each walk, and the housekeeping.
        assert families.count(name) == (4 if name == "app-staging" else 0)


def test_what_git_would_take_of_it_is_nothing(world, walked):
    command = ["/usr/bin/env", "git", "status", "--porcelain"]

    assert subprocess.check_output(command, cwd=world.checkout, text=True) == ""


def test_every_variable_that_a_workflow_reads_has_its_value(world, walked):
    state = json.loads(world.github.read_text())
    read = {
        name for path in (ROOT / ".github/workflows").iterdir() for name in re.findall(r"vars\.(\w+)", path.read_text())
    }
    environments = {name: each["variables"] for name, each in state["environments"].items()}

    assert environments.keys() == {"staging", "staging-rollback", "production", "production-rollback"}
    for name, variables in environments.items():
        given = state["variables"] | variables
        assert {key for key in read if not given.get(key)} == set()
        # Terraform's own text: a target that the scripts read.
        assert Target.parse(variables["DEPLOYMENT"]).environment == name.removesuffix("-rollback")
        assert variables["DEPLOY_ROLE"].endswith("-rollback" if name.endswith("-rollback") else "-deploy")
    policies = {name: each["policies"] for name, each in state["environments"].items()}
    main, tags = {"name": "main", "type": "branch"}, {"name": "v*.*.*", "type": "tag"}
    assert policies == {each: [tags if each == "production" else main] for each in environments}
    approved = {name for name, each in state["environments"].items() if each["settings"].get("reviewers")}
    assert approved == {"production"}


def test_dns_leads_to_the_load_balancers_and_proves_the_domains(world, walked):
    route53, acm = world.client("route53"), world.client("acm")
    (zone,) = route53.list_hosted_zones()["HostedZones"]
    records = {
        each["Name"].rstrip("."): each["ResourceRecords"][0]["Value"]
        for each in route53.list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]
        if each["Type"] == "CNAME"
    }
    balancers = {each["DNSName"] for each in world.client("elbv2").describe_load_balancers()["LoadBalancers"]}
    listed = acm.list_certificates()["CertificateSummaryList"]
    proofs = {
        option["ResourceRecord"]["Name"].rstrip("."): option["ResourceRecord"]["Value"]
        for each in listed
        for option in acm.describe_certificate(CertificateArn=each["CertificateArn"])["Certificate"][
            "DomainValidationOptions"
        ]
    }

    assert {each["DomainName"] for each in listed} == {"staging.example.org", "api.example.org"}
    assert {records[name] for name in ("staging.example.org", "api.example.org")} == balancers
    assert {name: records[name] for name in proofs} == proofs


def test_a_second_apply_changes_nothing(walked):
    second = walked.printed[len(walked.printed) // 2 :]
    applied = [output for text, output in second if "terraform" in text and " apply " in text]

    # The account, and the network and the environment of each.
    assert len(applied) == 1 + 2 * 2
    assert all("No changes." in output for output in applied)


def test_a_state_that_is_locked_is_left_alone(world, walked):
    if not world.terraform:
        pytest.skip("Terraform or its provider is not here, so nothing locks")
    (bucket,) = [each["Name"] for each in world.client("s3").list_buckets()["Buckets"] if "terraform" in each["Name"]]
    info = {"ID": "3f2a", "Operation": "OperationTypeApply", "Who": "eve@laptop", "Created": "2026-11-27T10:00:00Z"}
    key = "app/production-network.tflock"
    world.client("s3").put_object(Bucket=bucket, Key=key, Body=json.dumps(info).encode())
    apply = next(block.text for _, block in steps() if "terraform/network apply" in block.text)

    refused, failed = walked.shell.run(apply)
    unlocked, _ = walked.shell.run("terraform -chdir=deploy/ecs/terraform/network force-unlock -force 3f2a")
    applied, after = walked.shell.run(apply)

    assert failed
    assert "Error acquiring the state lock" in refused
    assert "eve@laptop" in refused
    assert "has been successfully unlocked" in unlocked
    assert "No changes." in applied
    assert after == []


ENVIRONMENT = ROOT / "deploy/ecs/terraform/environment"


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_the_example_explains_every_variable(environment):
    roots = "".join(path.read_text() for path in ENVIRONMENT.glob("*.tf"))
    paragraphs = (ENVIRONMENT / f"{environment}.tfvars.example").read_text().split("\n\n")
    named = [re.findall(r"^(?:# )?(\w+) += ", paragraph, re.MULTILINE) for paragraph in paragraphs]

    assert {name for names in named for name in names} == set(re.findall(r'^variable "(\w+)"', roots, re.MULTILINE))
    # A sentence before the first value.
    assert [each for each in paragraphs if not re.match(r"# (?!\w+ += )", each)] == []


def test_the_costs_add_up():
    rows = re.findall(r"^\| (.+) \| \**([\d.]+)\** \| \**([\d.]+)\** \|$", PAGE.text, re.MULTILINE)
    *parts, total = rows

    assert "together" in total[0]
    for column in (1, 2):
        assert round(sum(float(row[column]) for row in parts), 2) == float(total[column])
