"""Run pytest on what `make test T=…` selects: paths, ids as pytest prints them, and options.

    python -m devtools.select_tests SELECTION [PYTEST OPTIONS]

SELECTION is one argument. An id may have blanks, quotes and dollar signs in its brackets, and is taken as it stands; all
else is words for a shell, as in `T='tests/core tests/users -k "token or login"'`.
"""

import glob
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path


def split(selection: str) -> list[str]:
    """Return the arguments that a selection stands for."""
    chosen: list[str] = []
    for is_id, text in _parts(selection):
        if is_id:
            chosen.append(text)
            continue
        try:
            words = shlex.split(text)
        except ValueError as error:
            sys.exit(f"error: T is {selection!r}: {error}")
        for word in words:
            chosen += sorted(glob.glob(word)) or [word]  # noqa: PTH207  as a shell does it
    return chosen


def _parts(selection: str) -> Iterator[tuple[bool, str]]:
    """Yield the ids, and what stands between them."""
    rest = ""
    # Blanks and words in turn.
    pieces = re.split(r"(\s+)", selection.strip())
    while pieces:
        piece = pieces.pop(0)
        if not _begins_id(piece):
            rest += piece
            continue
        yield False, rest
        rest = ""
        while pieces and not _is_whole(piece, pieces[1:]):
            piece += pieces.pop(0) + pieces.pop(0)
        yield True, piece
    yield False, rest


def _begins_id(word: str) -> bool:
    path, sign, _ = word.partition("::")
    return bool(sign) and Path(path).is_file()


def _is_whole(id_: str, following: list[str]) -> bool:
    """Tell whether an id ends here: one with brackets at a bracket, and where something begins that is no more of it."""
    if "[" in id_ and not id_.endswith("]"):
        return False
    after = following[0]
    if "[" not in id_ or after.startswith("-") or Path(after).exists() or _begins_id(after):
        return True
    # A bracket in the middle of it: more of it comes.
    return not any(word.endswith("]") for word in following)


if __name__ == "__main__":
    # Only here: whoever imports `split` need not have it.
    import pytest

    sys.exit(pytest.main([*sys.argv[2:], *split(sys.argv[1])]))
