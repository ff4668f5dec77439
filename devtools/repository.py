"""The repository in the working directory: git, and the files that are generated from others."""

# A command line tool's: it runs commands, without a shell.
# ruff: noqa: S603, S607

import subprocess
import sys
from typing import Final

from devtools.daemon import DevtoolsError

GENERATORS: Final = (
    ("manage.py", "spectacular", "--file", "docs/openapi.yaml"),
    ("-m", "config.generate"),
    ("-m", "monitoring.dashboards"),
)

# Files and folders that are generated as a whole.
GENERATED: Final = ("docs/openapi.yaml", "docs/configuration.md", ".env.example", "monitoring/grafana/dashboards/")


def git(*arguments: str) -> str:
    """Return what git prints. Raises: DevtoolsError with git's own message."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise DevtoolsError(done.stderr.strip() or f"git {arguments[0]} failed")
    return done.stdout


def python(*arguments: str) -> None:
    """Run Python without its output. Raises: DevtoolsError with what it prints of its failure."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise DevtoolsError(f"{' '.join(arguments)} failed:\n{done.stderr.strip()}")


def generate() -> None:
    """Write the OpenAPI document, the configuration's page and lists, and the dashboards. Raises: DevtoolsError."""
    for command in GENERATORS:
        python(*command)
