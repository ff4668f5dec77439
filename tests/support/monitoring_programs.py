"""Programs that no wheel brings: Debian's packages, in the image `test` and on CI's machine."""

import os
import shutil

import pytest


def program(name: str, package: str = "prometheus") -> str:
    """Return the path of a program; without one skip the test with the reason, or fail it in CI."""
    found = shutil.which(name)
    if found is None:
        report = pytest.fail if os.environ.get("CI") else pytest.skip  # noqa: TID251  CI's own variable
        report(f"there is no {name} in the PATH (on Debian: apt install {package})")
    return found
