"""Runbooks can be carried out on the shipped platform: each command is run by a test, or is AWS's own.

A command stands in a block that a test runs, or it is `manage.py …` in the text, which `make run-task` carries out, or a
line of make. There is no shell in a container, no way to a task's port, and no login to the database.
"""

import re
import subprocess

import boto3
import pytest
from django.core.management import get_commands, load_command_class

from tests.support import aws_account
from tests.support.aws import environment
from tests.support.docs import Page
from tests.support.paths import ROOT

RUNBOOKS = [Page(path) for path in [ROOT / "docs/runbook.md", *sorted(ROOT.glob("docs/*/runbook.md"))]]
PAGES = [*RUNBOOKS, Page(ROOT / "docs/restore.md")]
# Programs, SQL and signals.
COMMAND = re.compile(
    r"(sudo |\w+=\S* )?(aws|bash|curl|docker|gunicorn|kill|kubectl|make|manage\.py|nc|psql|python3?|sh|ssh|systemctl"
    r"|terraform|wget)\s"
    r"|(ALTER|BEGIN|CREATE|DELETE|DROP|EXPLAIN|GRANT|INSERT|REVOKE|SELECT|SET|SHOW|UPDATE|VACUUM)\s"
    r"|SIG[A-Z0-9]+$"
)
PLACEHOLDERS = {"NAME": "ann", "PID": "4711"}


def spans(page: Page) -> list[str]:
    """Return what is in backticks."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", page.prose())]


COMMANDS = [
    pytest.param(page, span, id=f"{page.name}: {span}") for page in PAGES for span in spans(page) if COMMAND.match(span)
]
MANAGE = sorted({span for page in PAGES for span in spans(page) if re.match(r"manage\.py \w", span)})


@pytest.mark.parametrize(("page", "span"), COMMANDS)
def test_a_command_in_the_text_is_of_make_or_manage_or_of_a_block_of_the_page(page, span):
    blocks = "\n".join(block.text for block in page.blocks())

    assert re.match(r"(make|manage\.py) ", span) or span in blocks


@pytest.mark.parametrize(
    ("page", "block"),
    [pytest.param(page, block, id=f"{page.name}: {block.commands()[0]}") for page in PAGES for block in page.blocks()],
)
def test_a_block_is_run_by_a_test_or_is_of_aws(page, block):
    assert block.mark == "run by" or block.detail.startswith("AWS's")


@pytest.mark.parametrize("command", [span for span in MANAGE if "…" not in span and "shell" not in span])
def test_a_management_command_knows_its_arguments(command):
    _, name, *arguments = command.split()

    parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
    parser.parse_args([PLACEHOLDERS.get(argument, argument) for argument in arguments])


@pytest.mark.parametrize(
    "line", sorted({span for page in PAGES for span in spans(page) if re.match(r"make [a-z]", span)})
)
def test_a_line_of_make_is_one(line):
    words = [word for word in line.split() if "…" not in word]

    subprocess.run([*words, "--dry-run"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.slow
class TestOnAws:
    """The blocks of the AWS command line, on moto."""

    @pytest.fixture
    def aws(self, moto, monkeypatch) -> dict[str, str]:
        # Another test has made its own in the usual region.
        variables = environment(moto.url) | dict.fromkeys(("AWS_REGION", "AWS_DEFAULT_REGION"), "eu-north-1")
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        aws_account.make()
        logs = boto3.client("logs")
        logs.create_log_group(logGroupName=f"/ecs/{aws_account.NAME}")
        return variables

    def test_each_is_run(self, aws):
        blocks = [block.text for page in RUNBOOKS for block in page.blocks() if block.language == "bash"]
        assert len(blocks) == 2

        aws_account.run(blocks, aws)

        ecs = boto3.client("ecs")
        (service,) = ecs.describe_services(cluster=aws_account.NAME, services=[aws_account.NAME])["services"]
        assert service["desiredCount"] == 0
        tasks = ecs.list_tasks(cluster=aws_account.NAME)["taskArns"]
        stopped = ecs.describe_tasks(cluster=aws_account.NAME, tasks=tasks)["tasks"]
        assert [task["lastStatus"] for task in stopped].count("STOPPED") == 1
        (snapshot,) = boto3.client("rds").describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
        assert snapshot["DBSnapshotIdentifier"] == f"{aws_account.NAME}-evidence"
