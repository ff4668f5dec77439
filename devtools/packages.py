"""Installation of the lists in docker/requirements/: by uv, or by pip where uv cannot be had; from pip's own index.

    python -m devtools.packages install FOLDER LIST...   into the virtual environment, which is made if it is not there
    python -m devtools.packages pip-conf                 print the indexes as a pip.conf for the build of an image

The lists are exports of poetry.lock with hashes (`make lock`). Standard library only: this runs before anything is
installed, natively, in the Dockerfile, and for the deployment scripts. uv reads no configuration of pip's, so pip is asked
for it and uv gets it in variables of its own. They may have passwords in them: nothing here prints them or puts them on a
command line.
"""

# A command line tool: it prints, reads the environment, and runs commands, without a shell.
# ruff: noqa: T201, TID251, S603

from __future__ import annotations  # `pip-conf` runs with the Python of a machine that needs Docker only

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
LISTS: Final = ROOT / "docker" / "requirements"
LOCAL: Final = ROOT / ".local" / "native"

# How pip gets to its indexes, by the names of pip's options; and the variable that tells uv the same, if there is one.
CONNECTION: Final[dict[str, str | None]] = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "HTTPS_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "retries": "UV_HTTP_RETRIES",
    "keyring-provider": "UV_KEYRING_PROVIDER",
    "no-cache-dir": "UV_NO_CACHE",
    "cache-dir": None,  # of another format
    "config-file": None,
    "no-input": None,
}
# Variables of pip and uv that were set for other work, such as PIP_USER and UV_SYSTEM_PYTHON, and not to reach an index.
_UVS_OWN: Final = (
    "(DEFAULT_|EXTRA_)?INDEX(_URL|_STRATEGY|_\\w+_(USERNAME|PASSWORD))?|FIND_LINKS|NO_INDEX|INSECURE_HOST|OFFLINE|(NO_)?CACHE"
    "(_DIR)?|HTTP_\\w+|KEYRING_PROVIDER|(NATIVE_TLS|SYSTEM_CERTS)|CONFIG_FILE|NO_CONFIG|LINK_MODE|COMPILE_BYTECODE"
    "|CONCURRENT_\\w+|NO_PROGRESS"
)
_PIPS_OWN: Final = "|".join(name.replace("-", "_").upper() for name in (*CONNECTION, "default-timeout"))
FOREIGN: Final = re.compile(rf"PIP_(?!({_PIPS_OWN})$)\w+|UV_(?!({_UVS_OWN})$)\w+", re.ASCII)


class InstallError(Exception):
    """The packages could not be installed; the message is for the developer."""


# --- What pip knows of indexes ---------------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    """Return the environment without variables of pip and uv that were set for other work."""
    return {name: value for name, value in os.environ.items() if not FOREIGN.fullmatch(name)}


def pip_and_its_configuration() -> tuple[list[str], dict[str, str]]:
    """Return the command of a pip, and what it is configured to connect with, by the names in CONNECTION.

    The pip is this Python's own, else one that is made for it. Raises: InstallError.
    """
    pip = [sys.executable, "-m", "pip"]
    listed = _output([*pip, "config", "list"])
    if listed is None:
        folder = LOCAL / "pip"
        pip = [str(folder / "bin" / "python"), "-m", "pip"]
        if _output([*pip, "--version"]) is None:
            make_venv(folder, with_pip=True)
        # As this Python, since one of the files that pip reads stands beside it.
        pip += ["--python", sys.executable]
        listed = _output([*pip, "config", "list"])
    if listed is None:
        # Without its output, which may have a password in it.
        raise InstallError("pip cannot read its own configuration: see what `pip config list` prints")
    return pip, merged(listed)


def merged(listed: str) -> dict[str, str]:
    """Return what `pip config list` printed: variables win over the section `install`, and that over `global`."""
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for section, name, value in re.findall(r"^(global|install|:env:)\.([\w-]+)=(.*)$", listed, re.MULTILINE):
        option = {"default-timeout": "timeout"}.get(name, name)
        if option in CONNECTION:
            # It prints Python's repr; a value of several lines has \n in it.
            sections[section][option] = " ".join(str(ast.literal_eval(value)).split())
    values = {**sections["global"], **sections["install"], **sections[":env:"]}
    return {name: value for name, value in values.items() if value}


def for_pip(configured: dict[str, str]) -> dict[str, str]:
    """Return pip's variables: it then looks the same whichever environment it installs into."""
    # A pip.conf may ask for all three.
    own = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore", "PIP_REQUIRE_VIRTUALENV": "0"}
    return own | {f"PIP_{name.replace('-', '_').upper()}": value for name, value in configured.items()}


def for_uv(configured: dict[str, str], env: dict[str, str]) -> dict[str, str]:
    """Return an environment in which uv knows what pip knows. What the developer has set for uv stays."""
    known = dict(configured)
    # requests, so pip, looks there, too.
    known.setdefault("cert", env.get("REQUESTS_CA_BUNDLE") or env.get("CURL_CA_BUNDLE") or "")
    # pip passes over a folder that is not there, and separates them by blanks.
    links = [link if "://" in link else str(Path(link).expanduser()) for link in known.get("find-links", "").split()]
    known["find-links"] = ",".join(link for link in links if "://" in link or Path(link).exists())
    # Whole seconds.
    known["timeout"] = known.get("timeout", "").partition(".")[0]
    if known.get("keyring-provider") != "subprocess":
        known["keyring-provider"] = ""  # pip's other ways are none of uv's
    variables = {uvs: known[name] for name, uvs in CONNECTION.items() if uvs and known.get(name)}
    if "HTTPS_PROXY" in variables:
        variables["HTTP_PROXY"] = variables["HTTPS_PROXY"]
    if not known["cert"]:
        # As pip does since 24.2: what the system trusts.
        variables["UV_SYSTEM_CERTS"] = "true"
    # As pip does it: any index may have the release, and the hashes tell whether it is the right one.
    variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    own = {name: value for name, value in env.items() if name.startswith("UV_") and value}
    if "UV_INDEX_URL" in own:
        variables.pop("UV_DEFAULT_INDEX", None)
    return env | variables | own


def pip_conf(configured: dict[str, str]) -> str:
    """Return a pip.conf for the build of an image: without what names paths, which the build does not have."""
    lines = []
    for name in ("extra-index-url", "index-url", "trusted-host"):
        value = " ".join(part for part in configured.get(name, "").split() if not part.startswith("file:"))
        if value:
            lines.append(f"{name} = {value}\n")
    return "".join(["[global]\n", *lines]) if lines else ""


# --- Installation ----------------------------------------------------------------------------------------------------


def make_venv(folder: Path, *, with_pip: bool = False) -> None:
    """Make an empty virtual environment; one that is there is replaced."""
    # From inside `make shell` this runs on the very environment that it replaces.
    python = getattr(sys, "_base_executable", sys.executable)
    options = ["--clear"] if with_pip else ["--clear", "--without-pip"]
    _run([python, "-m", "venv", *options, str(folder)], environment())


def install(folder: Path, *lists: str) -> None:
    """Install lists of docker/requirements/ into a virtual environment. Raises: InstallError."""
    pip, configured = pip_and_its_configuration()
    python = str(folder / "bin" / "python")
    # The lists are complete, so nothing is resolved: their packages and no others, each with one of its hashes.
    options = ["--no-deps", "--require-hashes"]
    for name in lists:
        options += ["--requirement", str(LISTS / f"{name}.txt")]
    env = environment()
    uv = find_uv(pip, configured)
    if uv is not None:
        command = [uv, "pip", "install", "--python", python, *options]
        if _returns_0(command, for_uv(configured, env)):
            return
        print("uv could not do it, for the reason above: pip installs the same list", flush=True)
    # pip and --python: the environment has no pip of its own. --no-user: a pip.conf may set user = yes.
    pip = [*pip[:3], "--python", python]
    _run([*pip, "install", "--no-user", *options], env | for_pip(configured))


def find_uv(pip: list[str], configured: dict[str, str]) -> str | None:
    """Return the path of the uv of the version in installer.txt: one that is there, else pip installs it. None without."""
    file = LISTS / "installer.txt"
    version = re.search(r"^uv==(\S+)", file.read_text(), re.MULTILINE)
    own = LOCAL / "uv" / "bin" / "uv"
    for uv in (shutil.which("uv"), str(own)):
        if uv and version and (_output([uv, "--version"]) or "").split()[1:2] == [version[1]]:
            return uv
    print("Installing uv, which installs the rest, into .local/ (once)", flush=True)
    arguments = ["--no-deps", "--require-hashes", "--requirement", str(file), "--only-binary=:all:"]
    # A folder of its own, not an environment: making one with pip in it takes longer than all packages.
    target = ["--quiet", "--no-user", "--upgrade", "--target", str(own.parent.parent)]
    if _returns_0([*pip, "install", *target, *arguments], environment() | for_pip(configured)):
        return str(own)
    print("uv cannot be had here: pip installs the packages, which takes about a minute longer", flush=True)
    return None


def _output(command: list[str]) -> str | None:
    """Return what a command prints, None if it fails."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment(), cwd=ROOT)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _returns_0(command: list[str], env: dict[str, str]) -> bool:
    sys.stdout.flush()
    return subprocess.run(command, check=False, env=env, cwd=ROOT).returncode == 0


def _run(command: list[str], env: dict[str, str]) -> None:
    if not _returns_0(command, env):
        raise InstallError(f"this failed: {' '.join(command).replace(f'{ROOT}/', '')}")


def main(arguments: list[str]) -> int:
    """Run one command; return the exit code."""
    verb, *rest = arguments or [""]
    try:
        if verb == "install" and len(rest) > 1:
            folder = Path(rest[0]).absolute()
            if not (folder / "bin" / "python").exists():
                make_venv(folder)
            install(folder, *rest[1:])
        elif arguments == ["pip-conf"]:
            # Nothing is made for this: the machine needs Docker only.
            listed = _output([sys.executable, "-m", "pip", "config", "list"]) or _output(["pip3", "config", "list"])
            if listed is None:
                return 1
            print(pip_conf(merged(listed)), end="")
        else:
            print("usage: packages.py install FOLDER LIST... | pip-conf", file=sys.stderr)
            return 2
    except InstallError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
