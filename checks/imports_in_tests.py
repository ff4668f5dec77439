"""Imports in tests: fail if a module imports from a test module or from a conftest.

Run by `make lint`. What tests share stands in `tests/support/`, or in a module of their folder that is no test module: a
reader finds it by its name, and a test module can be changed or deleted without a look at the others.

Exit code: 0 if there is no such import, 1 if there is one; each is printed with its file and line.
"""

# A command line tool: it prints.
# ruff: noqa: T201

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent


def imported_names(node: ast.AST) -> list[str]:
    """List the dotted names that an import statement loads, a relative one's as if they began at `tests`."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        module = ".".join(filter(None, ["tests" if node.level else "", node.module]))
        return [f"{module}.{alias.name}" for alias in node.names]
    return []


def is_of_a_test_module(name: str) -> bool:
    """Return whether a dotted name is a test module or a conftest, or is inside one."""
    top, *parts = name.split(".")
    return top == "tests" and any(part.startswith("test_") or part == "conftest" for part in parts)


def problems(root: Path) -> Iterator[str]:
    """Yield each import of a test module below `root`/tests, with its file and line."""
    for path in sorted((root / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            for name in filter(is_of_a_test_module, imported_names(node)):
                yield f"{path.relative_to(root)}:{node.lineno}: {name} is of a test module: move it to tests/support/"


def main(root: Path = ROOT) -> int:
    """Check all modules; return the exit code."""
    found = list(problems(root))
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
