"""Virtual environment of the deployment scripts: boto3 and what it needs, and nothing else.

    python3 -m deploy.tools [-m deploy.deploy ...]

Makes `.local/deploy` from docker/requirements/deploy.txt unless it is there, then replaces itself by its Python with these
arguments. Standard library only. A rollback so waits for seven packages, and not for those of the tests.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from devtools import packages

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".local" / "deploy"
LIST = packages.LISTS / "deploy.txt"


def make() -> None:
    """Make the environment, unless it is there with the same packages. Raises: InstallError."""
    wanted, installed = LIST.read_bytes(), HOME / LIST.name
    if installed.exists() and installed.read_bytes() == wanted:
        return
    packages.make_venv(HOME)
    packages.install(HOME, LIST.stem)
    # Only now: an installation that broke off is made again.
    installed.write_bytes(wanted)


def main(arguments: Sequence[str]) -> int:
    """Make the environment and run its Python."""
    try:
        make()
    except packages.InstallError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  a command line tool's
        return 1
    if arguments:
        python = str(HOME / "bin" / "python")
        os.chdir(ROOT)
        # In place of this process: a signal reaches the script.
        os.execv(python, [python, *arguments])  # noqa: S606  without a shell
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
