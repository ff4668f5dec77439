"""Terraform's roots in a folder of the test's own, with local state, against moto."""

# The environment of a program, and CI's own variables.
# ruff: noqa: TID251

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import aws
from tests.support.paths import ROOT


class Terraform:
    """One root, such as `account`; several copies of one may have states of their own."""

    def __init__(self, name: str, folder: Path, endpoint: str = "http://127.0.0.1:1") -> None:
        program = shutil.which("terraform")
        if program is None:
            pytest.skip("there is no terraform in the PATH")
        self._program = program
        # The environment reads ../../web.json.
        shutil.copytree(ROOT / "deploy/ecs", folder)
        self.root = folder / "terraform" / name
        (self.root / "backend_override.tf").write_text('terraform {\n  backend "local" {}\n}\n')
        # moto has no host name for each bucket.
        (self.root / "provider_override.tf").write_text('provider "aws" {\n  s3_use_path_style = true\n}\n')
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(folder)} | aws.environment(endpoint)
        plugins = os.environ.get("TF_PLUGIN_DIR")
        outcome = self.run("init", *([f"-plugin-dir={plugins}"] if plugins else []))
        if outcome.returncode:
            report = pytest.fail if plugins or os.environ.get("GITHUB_ACTIONS") else pytest.skip
            report(f"Terraform's providers cannot be had:\n{outcome.stderr}")

    def run(self, command: str, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        words = [
            f"-var={key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in variables.items()
        ]
        output = [] if command in {"output", "show"} else ["-input=false"]
        return subprocess.run(
            [self._program, f"-chdir={self.root}", command, "-no-color", *output, *arguments, *words],
            env=self._environment,
            text=True,
            capture_output=True,
            check=False,
        )

    def apply(self, **variables: Any) -> None:
        self._applied = variables
        outcome = self.run("apply", "-auto-approve", **variables)
        assert outcome.returncode == 0, outcome.stderr

    def plan_again(self) -> str:
        """Return the plan for what was applied last."""
        return self.run("plan", **self._applied).stdout

    def refusal(self, **variables: Any) -> str:
        """Plan, and return the errors as one line."""
        outcome = self.run("plan", **variables)
        assert outcome.returncode == 1
        return " ".join(outcome.stderr.replace("│", " ").split())

    @property
    def resources(self) -> dict[str, dict[str, Any]]:
        """The values of each resource in the state, by its address."""
        state = json.loads(self.run("show", "-json").stdout)
        return {each["address"]: each["values"] for each in state["values"]["root_module"]["resources"]}

    def output(self, name: str) -> Any:
        return json.loads(self.run("output", "-json").stdout)[name]["value"]
