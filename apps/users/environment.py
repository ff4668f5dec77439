"""Environment variables of the users' app."""

from collections.abc import Mapping
from typing import Final

from apps.core.configuration import BOOLEAN, Key

KEYS: Final[Mapping[str, Key]] = {
    "SIGN_UP_OPEN": Key(BOOLEAN, "Allow everyone to create a user.", default=False, example="true"),
}
