"""Virtual environment of the deployment scripts: boto3 and what it needs, as in poetry.lock, and nothing else.

    python3 -m deploy.tools [-m deploy.deploy ...]

Makes `.local/deploy` unless it is there and poetry.lock asks for the same, then replaces itself by its Python with these
arguments. Standard library only. A rollback so waits for seven packages, and not for those of the tests.
"""

import os
import re
import subprocess
import sys
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".local" / "deploy"
NEEDED = "boto3"


def requirements(lock: str) -> str:
    """Return pip's list of the needed packages and all that they need, with the lock's hashes."""
    packages = {package["name"]: package for package in tomllib.loads(lock)["package"]}
    waiting, found = [NEEDED], {}
    while waiting:
        package = packages[waiting.pop()]
        if package["name"] not in found:
            hashes = " ".join(f"--hash={file['hash']}" for file in package["files"])
            found[package["name"]] = f"{package['name']}=={package['version']} {hashes}\n"
            # The lock writes names as their authors do.
            waiting += [re.sub(r"[-_.]+", "-", name).lower() for name in package.get("dependencies", {})]
    return "".join(found[name] for name in sorted(found))


def make() -> None:
    """Make the environment, unless it is there with the same packages."""
    wanted, installed = requirements((ROOT / "poetry.lock").read_text()), HOME / "requirements.txt"
    if installed.exists() and installed.read_text() == wanted:
        return
    venv.create(HOME, clear=True, with_pip=True)
    listed = HOME / "wanted.txt"
    listed.write_text(wanted)
    command = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--require-hashes"]
    subprocess.run([HOME / "bin" / "python", *command, "--requirement", listed], check=True)  # noqa: S603  our own list
    # Only now: an installation that broke off is made again.
    listed.rename(installed)


def main(arguments: Sequence[str]) -> int:
    """Make the environment and run its Python."""
    try:
        make()
    except subprocess.CalledProcessError as error:
        return error.returncode
    if arguments:
        python = str(HOME / "bin" / "python")
        os.chdir(ROOT)
        # In place of this process: a signal reaches the script.
        os.execv(python, [python, *arguments])  # noqa: S606  without a shell
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
