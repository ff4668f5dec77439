"""docs/configuration.md, written from the declarations: `python -m config.reference`, or with --check compared."""

import argparse
import difflib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from config.env import ENVIRONMENTS, KEYS
from config.keys import Key

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
HEAD: Final = """\
# Configuration

Written from `config/env.py` by `make configuration`: change it there.

A value comes from the **environment**, else from the **secret**, else it is the **default**; an empty value is none. The
secret is the one in AWS Secrets Manager that `APP_SECRETS_ID` names: a JSON object of strings with the names below. Without
`APP_SECRETS_ID` nobody is asked; `base` and `test` never ask. A process that misses a key, cannot read one, or is deployed
with an unsafe one ends at once with one error that names them all and no value. `manage.py show_config` shows where each
key comes from.

| key | must be | default | required in | what it is |
| --- | --- | --- | --- | --- |
"""
TAIL: Final = """
(*) from the environment only: it is needed before the secret is found, or by a program that reads nothing else.

Unsafe, so refused in `staging` and `production`: """


def page() -> str:
    """Return what the page should be."""
    unsafe = [f"`{name}`" for name, key in KEYS.items() if key.unsafe]
    return HEAD + "".join(f"{row}\n" for row in _rows()) + TAIL + ", ".join(unsafe) + ".\n"


def _rows() -> Iterator[str]:
    for name, key in KEYS.items():
        required = "everywhere" if set(key.required) == set(ENVIRONMENTS) else ", ".join(sorted(key.required))
        kept = "(*)" if key.outside_only else ""
        yield f"| `{name}`{kept} | {key.kind.words} | {_defaults(key)} | {required} | {key.about} |"


def _defaults(key: Key[Any]) -> str:
    elsewhere = [f"{_text(value)} in {name}" for name, value in key.elsewhere.items()]
    return "; ".join(filter(None, [_text(key.default), *elsewhere]))


def _text(value: object) -> str:
    if isinstance(value, list):
        return _text(",".join(value))
    if isinstance(value, float):
        return f"`{value:g}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value != "" else ""


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or tell how it differs."""
    parser = argparse.ArgumentParser(prog="python -m config.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail, and show how, if the page is out of date")
    if not parser.parse_args(arguments).check:
        PAGE.write_text(page())
        return 0
    found = PAGE.read_text() if PAGE.exists() else ""
    difference = list(
        difflib.unified_diff(found.splitlines(), page().splitlines(), "committed", "declared", lineterm="")
    )
    if difference:
        sys.stderr.write("\n".join([*difference, f"error: {PAGE.name} is out of date: run make configuration", ""]))
    return 1 if difference else 0


if __name__ == "__main__":
    sys.exit(main())
