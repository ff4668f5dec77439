"""Rules for every workflow, beyond those of the linters in `make lint-delivery`."""

import re
import tomllib

import pytest
import yaml

from checks.support_ends import SUPPORTED
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


def groups() -> dict[str, dict[str, str]]:
    """Return each concurrency group, by the workflow or the job that has it."""
    jobs = {f"{name}: {key}": job for name in PARSED for key, job in PARSED[name]["jobs"].items()}
    return {name: part["concurrency"] for name, part in (PARSED | jobs).items() if "concurrency" in part}


def test_a_deployment_waits_for_another_and_neither_is_cut_off_nor_replaced():
    """By default GitHub keeps one that waits and cancels the others; `queue: max` keeps a hundred, in order."""
    queue = {"cancel-in-progress": "false", "queue": "max"}
    choice = PARSED["rollback.yml"]["on"]["workflow_dispatch"]["inputs"]["environment"]["options"]

    assert {name: group for name, group in groups().items() if "queue" in group} == {
        "_deploy.yml: deploy": {"group": "${{ inputs.environment }}", **queue},
        # Of its own: a rollback waits for no release.
        "rollback.yml": {"group": "${{ inputs.environment }}-rollback", **queue},
    }
    assert choice == ["staging", "production"]


def test_each_commit_of_main_has_a_run_of_its_own():
    """A run in a group without a queue can be replaced by a newer one."""
    without = {name: group for name, group in groups().items() if "queue" not in group}

    assert without.keys() == {"ci.yml", "security.yml"}
    assert without["ci.yml"] == {
        "group": "ci-${{ github.event_name == 'pull_request' && github.ref || github.sha }}",
        "cancel-in-progress": "${{ github.event_name == 'pull_request' }}",
    }


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


def test_each_python_from_the_oldest_is_tested_and_what_comes_next_holds_up_nothing():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (oldest,) = re.findall(r">=3\.(\d+)", project["requires-python"])
    (image,) = re.findall(r"^ARG PYTHON=3\.(\d+)$", (ROOT / "docker/Dockerfile").read_text(), re.MULTILINE)
    python, django = PARSED["ci.yml"]["jobs"]["python"], PARSED["ci.yml"]["jobs"]["django"]
    others = [int(version.removeprefix("3.")) for version in python["strategy"]["matrix"]["version"]]

    assert sorted([*others, int(image)]) == list(range(int(oldest), int(image) + 2))
    assert python["continue-on-error"] == f"${{{{ matrix.version == '3.{int(image) + 1}' }}}}"
    assert python["env"]["IMAGE_PYTHON"] == "${{ matrix.version }}"
    assert django["continue-on-error"] == "true"
    # The line after the locked one.
    major = SUPPORTED["django"][0].partition(".")[0]
    assert django["steps"][-1]["run"] == f"make test-django DJANGO={int(major) + 1}.0"


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
