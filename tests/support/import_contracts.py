"""Import contracts of pyproject.toml on a copy of the code with imports that break them."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.paths import ROOT


def assert_contracts_break(folder: Path, broken: Mapping[str, str]) -> None:
    """Add each text to the beginning of its module, alone, and see `lint-imports` fail."""
    for name in ("apps", "checks", "config", "deploy", "devtools", "monitoring", "server"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    lint = Path(sys.executable).parent / "lint-imports"
    for name, addition in broken.items():
        path = folder / name
        before = path.read_text() if path.exists() else None
        path.write_text(addition + (before or ""))
        result = subprocess.run([lint, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)
        assert result.returncode == 1, name
        assert " BROKEN" in result.stdout, name
        path.write_text(before) if before is not None else path.unlink()
