"""`Min-Version` header: the version that a client has seen, so that a list from a replica is at least that new."""

import re
from collections.abc import Mapping
from typing import Final

from apps.core.errors import FieldError
from apps.core.problem import InvalidParameters

HEADER: Final = "Min-Version"
# A bigint of PostgreSQL.
LARGEST: Final = 2**63 - 1


def min_version(headers: Mapping[str, str]) -> int | None:
    """Return the version, or None without the header. Raises: InvalidParameters."""
    text = headers.get(HEADER)
    if text is None:
        return None
    if re.fullmatch(r"0|[1-9][0-9]{0,18}", text, re.ASCII) and int(text) <= LARGEST:
        return int(text)
    raise InvalidParameters([FieldError(HEADER, "invalid", f"A whole number from 0 to {LARGEST}.")])
