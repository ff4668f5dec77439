"""Environment of the benchmark: the contenders' libraries in a virtual environment, and facts of the machine."""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

from devtools import native, packages
from tests.support.paths import ROOT

FOLDER = ROOT / ".local" / "bench"
# Of poetry.lock, in docker/requirements/.
LISTS = ("main", "bench")
PACKAGES = (
    *("django", "djangorestframework", "psycopg", "gunicorn", "fastapi", "uvicorn", "uvloop", "pydantic", "sqlmodel"),
    *("sqlalchemy", "asyncpg", "django-ninja"),
)


def build() -> Path:
    """Install the lists into an environment that no other target uses, unless they are, and return its Python."""
    wanted = {name: native.list_digest(name) for name in LISTS}
    if native.stamps(FOLDER) != wanted:
        print("Installing the contenders' libraries into .local/bench (once)", file=sys.stderr, flush=True)
        packages.make_venv(FOLDER)
        packages.install(FOLDER, *LISTS)
        (FOLDER / "made-from").write_text("".join(f"{name} {stamp}\n" for name, stamp in wanted.items()))
    return FOLDER / "bin" / "python"


def facts(python: Path, seed: int) -> dict[str, str]:
    """Return what a reader needs to judge the figures."""
    ask = (
        "import json, sys; from importlib import metadata;"
        f"names = {PACKAGES!r};"
        "have = {d.metadata['Name'].lower(): d.version for d in metadata.distributions()};"
        "print(json.dumps({name: have[name] for name in names if name in have}))"
    )
    versions = json.loads(subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout)
    git = shutil.which("git") or "git"
    command = [git, "-c", "safe.directory=*", "describe", "--always", "--dirty"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()) + " UTC",
        "commit": commit or "unknown",
        "seed": str(seed),
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "Python": sys.version.split()[0],
        **versions,
        "load average at the start": _load_average(),
    }


def load_now() -> dict[str, str]:
    return {"load average at the end": _load_average()}


def _load_average() -> str:
    return ", ".join(f"{value:.1f}" for value in os.getloadavg())


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def plot(figures: str, folder: Path) -> None:
    """Draw the plots of a report, with matplotlib of the contenders' environment."""
    kept = FOLDER / "figures.json"
    kept.write_text(figures)
    subprocess.run([build(), "-m", "tests.ledger.benchmarks.plots", kept, folder], cwd=ROOT, check=True)
