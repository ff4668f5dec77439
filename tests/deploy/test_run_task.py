"""`make run-task`: a command in the deployed environment, its log and its exit code, on an ECS that keeps state."""

import re
import signal

import pytest
from django.core.management import get_commands, load_command_class

from deploy import run_task
from tests.support import makefile
from tests.support.fake_ecs import NETWORK
from tests.support.paths import ROOT

PAGES = [ROOT / "docs/runbook.md", ROOT / "docs/restore.md", *sorted(ROOT.glob("docs/*/runbook.md"))]
LINES = [line for page in PAGES for line in makefile.lines(page, "run-task")]


@pytest.fixture
def run(cloud, monkeypatch, capsys):
    """Run the script against the cloud; return its exit code, output and errors."""
    monkeypatch.setenv("DEPLOYMENT", cloud.deployment)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = run_task.main(arguments, cloud.clients)
        return code, *capsys.readouterr()

    return run


class TestTheRunbooksLines:
    def test_are_there(self):
        commands = {re.search(r"manage\.py (\w+)", line)[1] for line in LINES}

        assert {"createsuperuser", "deactivate_user", "housekeeping", "database_status"} <= commands

    @pytest.mark.parametrize("line", LINES)
    def test_run_in_a_task_of_the_services_revision_or_of_the_migrations(self, cloud, run, monkeypatch, line):
        migration = cloud.ecs.register("app-migrate", containerDefinitions=[{"name": "migrate"}])
        as_owner = "OWNER=1" in line
        monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "a password of one's own")
        to, file, *words = makefile.words_of(line, "deploy.run_task")
        assert (to, file) == ("--to", "deploy/targets/staging.json")

        assert run(*words)[0] == 0

        (request,) = cloud.ecs.called("RunTask")
        assert request["taskDefinition"] == (migration if as_owner else cloud.ecs.service["taskDefinition"])
        assert request["networkConfiguration"] == NETWORK
        (override,) = request["overrides"]["containerOverrides"]
        python, manage, command, *arguments = override["command"]
        assert (override["name"], python, manage) == ("migrate" if as_owner else "web", "python", "manage.py")
        # The command exists, and knows these arguments.
        parser = load_command_class(get_commands()[command], command).create_parser("manage.py", command)
        parser.parse_args(arguments)

    def test_pass_on_the_variable_that_they_name_and_no_other(self, cloud, run, monkeypatch):
        monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "a password of one's own")
        cloud.ecs.register("app-migrate", containerDefinitions=[{"name": "migrate"}])
        for line in LINES:
            run(*makefile.words_of(line, "deploy.run_task")[2:])

        passed = [
            variable
            for request in cloud.ecs.called("RunTask")
            for variable in request["overrides"]["containerOverrides"][0]["environment"]
        ]
        assert passed == [{"name": "DJANGO_SUPERUSER_PASSWORD", "value": "a password of one's own"}]


class TestTheTask:
    @pytest.mark.parametrize("code", [0, 1, 4])
    def test_gives_its_exit_code_and_its_log(self, cloud, run, code):
        cloud.ecs.exit_code = code
        cloud.write_log("web", *(f"line {number}" for number in range(120)))

        exit_code, out, err = run("--", "manage.py", "housekeeping")

        assert (exit_code, err) == (code, "")
        assert [line for line in out.splitlines() if line.startswith("line")] == [f"line {n}" for n in range(120)]
        assert out.endswith(f"housekeeping ended: exit code {code}\n")

    def test_that_never_ran_is_a_failure(self, cloud, run):
        cloud.ecs.exit_code = None
        cloud.ecs.task = {"stoppedReason": "CannotPullContainerError"}

        code, out, _ = run("--", "manage.py", "housekeeping")

        assert code == 1
        assert "housekeeping ended: no exit code, CannotPullContainerError" in out

    @pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
    def test_is_stopped_with_the_script(self, cloud, run, sent):
        cloud.ecs.after(15, lambda: signal.raise_signal(sent))

        code, _, err = run("--", "manage.py", "housekeeping")

        assert (code, err) == (1, "error: interrupted; the task was stopped if it had been started\n")
        assert [task["status"] for task in cloud.ecs.tasks.values()] == ["STOPPED"]

    def test_needs_no_lock_and_changes_no_service(self, cloud, run):
        cloud.lock("a deployment").take()

        assert run("--", "manage.py", "housekeeping")[0] == 0
        assert {name for name, _ in cloud.ecs.calls} == {"DescribeServices", "RunTask", "DescribeTasks"}


class TestRefused:
    @pytest.mark.parametrize(
        ("words", "reason"),
        [
            (["--", "sh", "-c", "true"], "the command must begin with manage.py"),
            (["--pass", "NOT_SET_HERE", "--", "manage.py", "check"], "NOT_SET_HERE cannot be passed: not set"),
        ],
    )
    def test_before_anything_is_asked(self, cloud, run, words, reason):
        assert run(*words)[::2] == (1, f"error: {reason}\n")
        assert cloud.ecs.calls == []

    def test_without_a_target(self, run, monkeypatch):
        monkeypatch.delenv("DEPLOYMENT")

        assert run("--", "manage.py", "check")[::2] == (
            1,
            "error: DEPLOYMENT is not set: it is Terraform's output `deployment`\n",
        )

    def test_as_the_owner_before_any_migration(self, cloud, run):
        assert run("--owner", "--", "manage.py", "database_status")[::2] == (
            1,
            "error: there is no task definition app-migrate: nothing was deployed yet\n",
        )
        assert cloud.ecs.called("RunTask") == []

    def test_without_a_service(self, cloud, run):
        cloud.ecs.service = {}

        assert run("--", "manage.py", "check")[::2] == (1, "error: there is no service app in app: MISSING\n")
