"""GitHub's command line and a GitHub behind it, for commands of documents: variables, environments, and runs of workflows.

    python -m tests.support.fake_gh variable set AWS_REGION --body eu-central-1

It takes the commands and options that the pages use, and refuses others. What it is told stands in the JSON file that
GITHUB_STATE names. `git push` puts a commit there; `gh run watch` then does what the workflows would: the image is published
without being built, and the job `deploy` runs the lines of .github/workflows/_deploy.yml with the environment's variables,
after the role's trust policy has taken the subject of the job's token.
"""

# A command line: it prints, and reads its environment.
# ruff: noqa: TID251

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jmespath
import yaml

OWNER_ID, REPOSITORY_ID, TEAM_ID = 123456, 456789, 789


class Refusal(Exception):
    """GitHub's or the command line's error."""


class GitHub:
    """One repository."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state: dict[str, Any] = (
            json.loads(path.read_text()) if path.exists() else {"variables": {}, "environments": {}, "runs": []}
        )

    def save(self) -> None:
        self.path.write_text(json.dumps(self.state, indent=1))

    # --- settings

    def set_variable(self, name: str, value: str, environment: str | None) -> None:
        if environment is None:
            self.state["variables"][name] = value
        elif environment in self.state["environments"]:
            self.state["environments"][environment]["variables"][name] = value
        else:
            raise Refusal(f"failed to set variable {name!r}: HTTP 404: Not Found")

    def api(self, method: str, path: str, body: dict[str, Any]) -> Any:
        group, owner, name, *rest = path.split("/")
        if group == "orgs":
            return {"id": TEAM_ID, "slug": rest[0]}
        if (method, rest) == ("GET", []):
            return {"id": REPOSITORY_ID, "name": name, "owner": {"id": OWNER_ID, "login": owner}}
        environments = self.state["environments"]
        match method, rest:
            case "PUT", ["environments", environment]:
                known = {"wait_timer", "prevent_self_review", "reviewers", "deployment_branch_policy"}
                if body.keys() - known:
                    raise Refusal("HTTP 422: Invalid request")
                before = environments.get(environment, {"variables": {}, "policies": []})
                environments[environment] = before | {"settings": body}
                return {"name": environment}
            case "GET", ["environments", environment, "deployment-branch-policies"]:
                return {"branch_policies": environments[environment]["policies"]}
            case "POST", ["environments", environment, "deployment-branch-policies"]:
                if not environments[environment]["settings"]["deployment_branch_policy"]["custom_branch_policies"]:
                    raise Refusal("HTTP 404: Not Found")
                if body not in environments[environment]["policies"]:
                    environments[environment]["policies"].append(body)
                return body
        raise Refusal(f"{method} {path} is no part of this fake")

    # --- workflows

    def latest_run(self, workflow: str, commit: str) -> list[dict[str, Any]]:
        found = [run for run in self.state["runs"] if run["workflow"] == workflow and run["headSha"] == commit]
        if not found:
            # Every push starts one.
            found = [{"databaseId": len(self.state["runs"]) + 1, "workflow": workflow, "headSha": commit, "ok": None}]
            self.state["runs"] += found
        return found[-1:]

    def carry_out(self, number: int) -> bool:
        """Do the run's jobs, unless they are done; return whether they passed."""
        run = next(run for run in self.state["runs"] if run["databaseId"] == number)
        if run["ok"] is None:
            commit = run["headSha"]
            if run["workflow"] == "staging.yml":
                print("   GitHub: job ci: not run here")
                self._publish(commit)
                values = {"environment": "staging", "image": f"sha-{commit}", "release": ""}
            else:
                describe = ["/usr/bin/env", "git", "describe", "--exact-match", "--tags", commit]
                tag = subprocess.check_output(describe, text=True).strip()
                values = {"environment": "production", "image": f"staged-{commit}", "release": tag}
            self.save()
            run["ok"] = self._deploy(values)
        return bool(run["ok"])

    def _publish(self, commit: str) -> None:
        """Push an image without building it."""
        # Two seconds, which the other commands need not wait.
        from tests.support import fake_aws

        variables = self.state["variables"]
        account, name = variables["IMAGE_REPOSITORY"].partition(".")[0], variables["IMAGE_REPOSITORY"].partition("/")[2]
        self._assume(variables["PUBLISH_ROLE"], "ref:refs/heads/main")
        client = connect("ecr", variables["AWS_REGION"])
        tag = f"sha-{commit}"
        listed = client.describe_images(registryId=account, repositoryName=name)["imageDetails"]
        if tag not in {each for image in listed for each in image.get("imageTags", [])}:
            fake_aws.push(client, tag, content=commit, repository=name)
        print(f"   GitHub: job publish: {tag} (an image without content: nothing was built)")

    def _deploy(self, inputs: dict[str, str]) -> bool:
        environment = self.state["environments"][inputs["environment"]]
        variables = self.state["variables"] | environment["variables"]
        steps = yaml.safe_load(Path(".github/workflows/_deploy.yml").read_text())["jobs"]["deploy"]["steps"]

        def filled(text: str) -> str:
            values = {"vars": variables, "inputs": inputs}
            return re.sub(r"\$\{\{ (vars|inputs)\.(\w+) \}\}", lambda found: values[found[1]][found[2]], text)

        for step in steps:
            if "role-to-assume" in step.get("with", {}):
                self._assume(filled(step["with"]["role-to-assume"]), f"environment:{inputs['environment']}")
            elif "run" in step:
                print(f"   GitHub: job deploy: {step['run']}", flush=True)
                own = {key: filled(text) for key, text in step.get("env", {}).items()}
                if subprocess.run(["/bin/bash", "-e", "-c", step["run"]], env=os.environ | own, check=False).returncode:
                    return False
        return True

    def _assume(self, role: str, subject: str) -> None:
        """Check what AWS checks of a job's token."""
        name = role.rpartition("/")[2]
        client = connect("iam", self.state["variables"]["AWS_REGION"])
        policy = client.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        (statement,) = policy["Statement"]
        trusted = statement["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"]
        owner, repository = os.environ["GITHUB_REPOSITORY"].split("/")
        token = f"repo:{owner}@{OWNER_ID}/{repository}@{REPOSITORY_ID}:{subject}"
        if token not in trusted:
            raise Refusal(f"Not authorized to perform sts:AssumeRoleWithWebIdentity: {token} is not among {trusted}")


def connect(service: str, region: str) -> Any:
    import boto3

    return boto3.client(service, region_name=region)


def run(github: GitHub, words: list[str]) -> int:
    """Carry a command out; return the exit code."""
    parser = argparse.ArgumentParser(prog="gh", allow_abbrev=False)
    groups = parser.add_subparsers(dest="group", required=True)
    groups.add_parser("auth").add_argument("what", choices=["status"])
    api = groups.add_parser("api")
    api.add_argument("path")
    api.add_argument("--method")
    api.add_argument("--jq")
    api.add_argument("--input")
    api.add_argument("-f", action="append", default=[])
    variable = groups.add_parser("variable")
    variable.add_argument("what", choices=["set"])
    variable.add_argument("name")
    variable.add_argument("--body")
    variable.add_argument("--env")
    runs = groups.add_parser("run").add_subparsers(dest="what", required=True)
    listed = runs.add_parser("list")
    for option in ("--workflow", "--commit", "--limit", "--json", "--jq"):
        listed.add_argument(option, required=True)
    for name, option in (("watch", "--exit-status"), ("rerun", "--failed")):
        command = runs.add_parser(name)
        command.add_argument("id", type=int)
        command.add_argument(option, action="store_true", required=True)
    given = parser.parse_args(words)

    if given.group == "auth":
        print("Logged in to github.com")
    elif given.group == "api":
        body = json.load(sys.stdin) if given.input == "-" else dict(pair.split("=", 1) for pair in given.f)
        answer = github.api(given.method or ("POST" if given.f else "GET"), given.path, body)
        print(jq(given.jq, answer) if given.jq else json.dumps(answer))
    elif given.group == "variable":
        # The command line trims no end of line.
        github.set_variable(given.name, given.body if given.body is not None else sys.stdin.read(), given.env)
    elif given.what == "list":
        print(jq(given.jq, github.latest_run(given.workflow, given.commit)))
    elif given.what == "rerun":
        found = next(each for each in github.state["runs"] if each["databaseId"] == given.id)
        if found["ok"]:
            raise Refusal("run cannot be rerun; its jobs have not failed")
        found["ok"] = None
    elif not github.carry_out(given.id):
        print("X the run failed")
        return 1
    return 0


def jq(program: str, answer: Any) -> str:
    """Return the result of the few programs that the pages use."""
    interpolated = re.fullmatch(r'"(.*)"', program)
    if interpolated:
        return re.sub(r"\\\(\.([\w.]+)\)", lambda found: str(jmespath.search(found[1], answer)), interpolated[1])
    found = jmespath.search(program.removeprefix("."), answer)
    return "\n".join(map(str, found)) if isinstance(found, list) else str(found)


if __name__ == "__main__":
    repository = GitHub(Path(os.environ["GITHUB_STATE"]))
    try:
        code = run(repository, sys.argv[1:])
    except Refusal as refusal:
        print(f"gh: {refusal}", file=sys.stderr)
        code = 1
    repository.save()
    sys.exit(code)
