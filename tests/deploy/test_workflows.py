"""Rules for every workflow, beyond those of the linters in `make lint-delivery`."""

import re
import tomllib

import pytest
import yaml

from tests.support.paths import ROOT

WORKFLOWS = {path.name: path.read_text() for path in sorted((ROOT / ".github/workflows").glob("*.yml"))}
# All values as strings: YAML 1.1 reads the key `on` as a boolean.
PARSED = {name: yaml.load(text, Loader=yaml.BaseLoader) for name, text in WORKFLOWS.items()}  # noqa: S506  strings only
JOBS = [pytest.param(name, job, id=f"{name}-{key}") for name in PARSED for key, job in PARSED[name]["jobs"].items()]
STEPS = [step for parsed in PARSED.values() for job in parsed["jobs"].values() for step in job.get("steps", [])]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_all_of_them_are_there():
    assert set(WORKFLOWS) == {"_deploy.yml", "ci.yml", "release.yml", "rollback.yml", "security.yml", "staging.yml"}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_nothing_is_permitted_but_by_a_job(name):
    assert PARSED[name]["permissions"] == {}


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_a_job_says_what_it_may_and_how_long_it_may_take(name, job):
    assert "permissions" in job
    # A job that calls a workflow has that workflow's time limits.
    assert "uses" in job or 0 < int(job["timeout-minutes"]) <= 60


@pytest.mark.parametrize("name", WORKFLOWS)
def test_an_action_is_pinned_to_a_commit_with_its_version_beside_it(name):
    for used in re.findall(r"uses: (.*)", WORKFLOWS[name]):
        assert re.fullmatch(r"\./\.github/workflows/\w+\.yml|[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used)


def test_an_action_has_the_same_pin_everywhere():
    pins = {tuple(used.split("@")) for text in WORKFLOWS.values() for used in re.findall(r"uses: ([^.\s]\S*)", text)}
    repositories = {("/".join(name.split("/")[:2]), commit) for name, commit in pins}

    assert len(repositories) == len(dict(repositories))


@pytest.mark.parametrize("step", [step["run"] for step in STEPS if "run" in step])
def test_a_step_is_one_command_without_logic(step):
    assert re.fullmatch(r"((?:exec )?make|python3 deploy/release\.py|gh release create|test) [^;&|`\n]+", step)
    assert "${{" not in step
    if "make " in step:
        target = next(word for word in step.partition("make ")[2].split() if not word.startswith("-"))
        assert target in TARGETS


def test_no_stored_key_is_used():
    for text in WORKFLOWS.values():
        assert "secrets." not in text
        assert "aws-access-key-id" not in text


@pytest.mark.parametrize("name", ["staging.yml", "release.yml", "rollback.yml"])
def test_a_deployment_is_never_cut_off(name):
    assert PARSED[name]["concurrency"]["cancel-in-progress"] == "false"


def test_a_release_waits_for_another_and_a_rollback_for_no_release():
    groups = {name: PARSED[name]["concurrency"]["group"] for name in ("staging.yml", "release.yml", "rollback.yml")}
    choice = PARSED["rollback.yml"]["on"]["workflow_dispatch"]["inputs"]["environment"]["options"]

    assert groups == {
        "staging.yml": "staging",
        "release.yml": "production",
        "rollback.yml": "${{ inputs.environment }}-rollback",
    }
    assert choice == ["staging", "production"]


@pytest.mark.parametrize(
    ("name", "environment"),
    [("_deploy.yml", "${{ inputs.environment }}"), ("rollback.yml", "${{ inputs.environment }}-rollback")],
)
def test_only_the_jobs_of_an_environment_become_its_role(name, environment):
    (job,) = PARSED[name]["jobs"].values()
    (step,) = [step for step in job["steps"] if "role-to-assume" in step.get("with", {})]

    assert job["environment"]["name"] == environment
    assert step["with"]["role-to-assume"] == "${{ vars.DEPLOY_ROLE }}"


@pytest.mark.parametrize("name", ["_deploy.yml", "rollback.yml"])
def test_a_cancelled_job_reaches_the_script(name):
    """The runner signals the step's shell alone: the shell is replaced by make, which signals what it runs."""
    (job,) = PARSED[name]["jobs"].values()

    assert job["steps"][-1]["run"].startswith("exec make ")


def test_the_one_required_check_needs_every_other_job():
    jobs = PARSED["ci.yml"]["jobs"]
    passed = jobs.pop("passed")

    assert passed["if"] == "always()"
    assert set(passed["needs"]) == set(jobs)
    assert passed["steps"][0]["run"] == f'test "$RESULTS" = "{" ".join(["success"] * len(jobs))}"'


def test_the_parser_is_tested_on_each_python_from_the_oldest():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = re.match(r">=3\.(\d+)", project["requires-python"])
    versions = PARSED["ci.yml"]["jobs"]["python"]["strategy"]["matrix"]["version"]

    assert oldest is not None
    assert versions == [f"3.{int(oldest[1]) + number}" for number in range(len(versions))]
    assert len(versions) > 1


def test_ci_runs_every_gate_of_make_check():
    recipe = re.search(r"^check: (.*?) ##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    run = {
        word
        for job in PARSED["ci.yml"]["jobs"].values()
        for step in job["steps"]
        for word in step.get("run", "").split()
    }

    assert recipe is not None
    assert set(recipe[1].split()) <= run
