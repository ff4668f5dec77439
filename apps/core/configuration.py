"""Declaration of environment variables: keys, the types of their values, and rules between keys.

An app declares its own in `apps/<app>/environment.py`: `KEYS`, and `RULES` for keys that must fit together. `config.env`
collects, reads and checks them.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Final

from environ import Env  # noqa: TID251  casts texts; `config.env` alone reads the environment

Rules = Mapping[tuple[str, ...], Callable[[Any], str]]

DEPLOYED: Final = ("staging", "production")


@dataclass(frozen=True)
class ValueType:
    """A type of values.

    words: completes "must be". cast: django-environ's. pattern: matches the whole text. is_valid: judges the value; it may
    raise `ValueError`.
    """

    words: str
    cast: Any = str
    pattern: str = r"(?s:.*)"
    is_valid: Callable[[Any], bool] = lambda _value: True

    def parse(self, text: str) -> Any:
        """Return the value. Raises: ValueError, whose text may quote the value, which may be secret: do not show it."""
        if text == text.strip() and re.fullmatch(self.pattern, text, re.ASCII):
            value = Env.parse_value(text, self.cast)
            if self.is_valid(value):
                return value
        raise ValueError


def list_of(words: str, item: str, is_valid: Callable[[Any], bool] = all) -> ValueType:
    return ValueType(words, [str.strip], rf"{item}(\s*,\s*{item})*", is_valid)


def integer(least: int, most: int) -> ValueType:
    return ValueType(f"a whole number from {least} to {most}", int, r"\d{1,10}", lambda number: least <= number <= most)


def one_of(*choices: str) -> ValueType:
    return ValueType(f"one of {', '.join(choices)}", str, "|".join(choices))


TEXT: Final = ValueType("text without spaces around it")
BOOLEAN: Final = ValueType("true or false", bool, "(?i:true|on|ok|yes|y|1|false|off|no|n|0)")
SECONDS: Final = ValueType("a number of seconds above 0", float, r"\d+(\.\d+)?", lambda seconds: 0 < seconds < math.inf)


@dataclass(frozen=True)
class Key:
    """One environment variable.

    default_elsewhere: the default where it is not deployed, if it is another. A default of one environment alone stands in
    its settings module. example: what .env.example shows; a key with an example is passed on to Compose's containers.
    required_in: the environments that do not start without it. unsafe: returns why a deployment refuses a value.
    environment_only: never read from the secret: needed to find it, or by programs that read the environment only.
    """

    type: ValueType
    description: str
    _: KW_ONLY
    default: Any = ""
    default_elsewhere: Any = None
    example: str = ""
    required_in: Collection[str] = ()
    unsafe: Callable[[Any], str] | None = None
    environment_only: bool = False

    def default_in(self, environment: str) -> Any:
        return self.default if environment in DEPLOYED or self.default_elsewhere is None else self.default_elsewhere

    def problem(self, text: str, environment: str) -> str:
        """Return what is wrong with a value, without the value, or an empty text."""
        if not text:
            return f"is missing: it must be {self.type.words}" if environment in self.required_in else ""
        try:
            value = self.type.parse(text)
        except ValueError:
            return f"must be {self.type.words}"
        return self.unsafe(value) if self.unsafe and environment in DEPLOYED else ""
