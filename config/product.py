"""The product's identity: its name, title and description, which stand in pyproject.toml and nowhere else.

NAME: of 3 to 24 small letters, digits and hyphens, for programs. TITLE: for people. `make rename` changes both.
"""

import tomllib
from pathlib import Path
from typing import Final

_PYPROJECT: Final = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))

NAME: Final[str] = _PYPROJECT["project"]["name"]
DESCRIPTION: Final[str] = _PYPROJECT["project"]["description"]
TITLE: Final[str] = _PYPROJECT["tool"]["product"]["title"]
