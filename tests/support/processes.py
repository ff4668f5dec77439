"""Whole Python processes with a configuration of their own."""

import os
import subprocess
import sys

from tests.support.paths import ROOT
from tests.support.patience import HANG_S


def run(*arguments, settings="production", **given):
    """Run Python in an environment of its own."""
    clean = {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": f"config.settings.{settings}"}  # noqa: TID251  its PATH
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=clean | given,
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * HANG_S,
    )
