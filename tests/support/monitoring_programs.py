"""Programs that the tests drive and that no wheel brings: Debian's packages, in the image `test` and on CI's machine."""

import os
import shutil

import pytest


def program(name: str) -> str:
    """Return where a program is; where it is not, skip the test with the reason, or fail it in CI."""
    found = shutil.which(name)
    if found is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip  # noqa: TID251  what CI sets is not ours
        say(f"there is no {name} in the PATH (on Debian: apt install prometheus)")
    return found
