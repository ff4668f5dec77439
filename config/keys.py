"""What a configuration key is: its name, its kind, its default, where it must be given, and what is unsafe there.

The keys themselves are declared in config/env.py. A problem is told by what the value must be and never shows
the value, which may be a secret.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, Self, TypeVar, overload
from urllib.parse import urlsplit

from environ import Env

from apps.database import libpq

T = TypeVar("T")

HOST: Final = re.compile(r"\*|\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]", re.IGNORECASE | re.ASCII)
# As a browser sends it: in small letters, and nothing behind the port.
ORIGIN: Final = re.compile(r"\*|https?://([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?", re.ASCII)
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# Not one of ours, which would hide the admin or be hidden by it.
ADDRESS: Final = re.compile(r"(?!(api|livez|ping|readyz|schema|static)/)([a-z0-9][a-z0-9_-]*/)+", re.ASCII)
DECLARED_LIMITS: Final = re.compile(r"lock_timeout|statement_timeout")
# libpq's words, from the weakest on.
SSLMODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


class UnfitError(ValueError):
    """A value that reads well and is of no use; the text goes on after the kind's words and holds nothing of the value."""


class Holder(Protocol):
    """What has values for keys."""

    values: Mapping[str, Any]


@dataclass(frozen=True)
class ValueType(Generic[T]):
    """What a value must be, in words that follow "must be", and the function that reads it or raises `ValueError`."""

    words: str
    read: Callable[[str], T]


@dataclass(frozen=True, kw_only=True)
class Key(Generic[T]):
    """One key of the configuration; as an attribute of `Environment` it is its value there.

    `required` names the environments that do not start without it, `elsewhere` the defaults that differ by environment.
    `unsafe` says, of a value, why a deployment refuses it. An `outside_only` key is never read from the secret: it is
    needed to find the secret, or by programs that know the process's environment only.
    """

    kind: ValueType[T]
    default: T
    about: str
    required: Collection[str] = ()
    elsewhere: Mapping[str, T] = field(default_factory=dict)
    unsafe: Callable[[T], str] | None = None
    outside_only: bool = False

    @overload
    def __get__(self, holder: None, owner: type) -> Self: ...
    @overload
    def __get__(self, holder: Holder, owner: type) -> T: ...
    def __get__(self, holder: Holder | None, owner: type) -> Self | T:
        if holder is None:
            return self
        value: T = holder.values[self.name]
        return value

    def __set_name__(self, owner: type, name: str) -> None:
        object.__setattr__(self, "name", name)

    # Set when the class that declares the key is made.
    name: str = field(init=False, default="")

    def default_in(self, environment: str) -> T:
        """Return the value where nobody gives one."""
        return self.elsewhere.get(environment, self.default)

    def parse(self, given: str) -> T:
        """Return the value; raise `ValueError` with words that hold nothing of what was given."""
        try:
            _demand(met=given == given.strip())
            return self.kind.read(given)
        except UnfitError as error:
            raise ValueError(f"must be {self.kind.words}, {error}") from None
        # A library's message may quote what it could not read.
        except ValueError:
            raise ValueError(f"must be {self.kind.words}") from None


def _demand(*, met: bool) -> None:
    if not met:
        raise ValueError


def _flag(given: str) -> bool:
    lower = given.lower()
    _demand(met=lower in {*Env.BOOLEAN_TRUE_STRINGS, "false", "off", "n", "no", "0"})
    return lower in Env.BOOLEAN_TRUE_STRINGS


def _names(given: str) -> list[str]:
    names = [name.strip() for name in given.split(",")]
    _demand(met=all(names))
    return names


def _hosts(given: str) -> list[str]:
    hosts = _names(given)
    _demand(met=all(HOST.fullmatch(host) for host in hosts))
    return hosts


def _origins(given: str) -> list[str]:
    origins = _names(given)
    for origin in origins:
        _demand(met=ORIGIN.fullmatch(origin) is not None)
        url = urlsplit(origin)
        # A browser leaves it out, so one that is there fits nothing. A port that is too high raises.
        _demand(met=url.port is None or url.port != DEFAULT_PORTS[url.scheme])
    return origins


def _path(given: str) -> str:
    _demand(met=ADDRESS.fullmatch(given) is not None)
    return given


def _seconds(given: str) -> float:
    _demand(met=re.fullmatch(r"\d+(\.\d+)?", given, re.ASCII) is not None)
    seconds = float(given)
    _demand(met=math.isfinite(seconds) and seconds > 0)
    return seconds


def _share(given: str) -> float:
    _demand(met=re.fullmatch(r"0(\.\d+)?|1(\.0+)?", given, re.ASCII) is not None)
    return float(given)


def _sentry_dsn(given: str) -> str:
    url = urlsplit(given)
    _ = url.port
    _demand(met=url.scheme in {"http", "https"} and bool(url.username and url.hostname))
    _demand(met=re.fullmatch(r"/(.+/)?\d+", url.path, re.ASCII) is not None)
    return given


def _postgres_url(given: str) -> str:
    _demand(met=given.startswith(libpq.SCHEMES))
    try:
        found = libpq.parameters(given)
        libpq.check(found)
    except ValueError:
        raise UnfitError("its parts percent-encoded and its parameters such as libpq takes") from None
    _demand(met=bool(found.get("dbname")) and not DECLARED_LIMITS.search(found.get("options", "")))
    return given


def _redis_url(given: str) -> str:
    _demand(met=given.startswith(("redis://", "rediss://", "unix://")))
    # Raises what it thinks of a port that is none.
    _ = urlsplit(given).port
    return given


TEXT: Final = ValueType("text without spaces around it", str)
FLAG: Final = ValueType("true or false", _flag)
NAMES: Final = ValueType("texts separated by commas", _names)
HOSTS: Final = ValueType(
    "host names separated by commas, without scheme or port (.example.org: with its subdomains)", _hosts
)
ORIGINS: Final = ValueType(
    "origins separated by commas, as browsers send them: https://app.example.org, in small letters, with a port where it is "
    "not the default, without a path, a slash at the end or a wildcard",
    _origins,
)
PATH: Final = ValueType("a path like back-office/, in small letters and unlike the others that are served", _path)
SECONDS: Final = ValueType("a number of seconds above 0", _seconds)
SHARE: Final = ValueType("a number from 0 to 1", _share)
POSTGRES_URL: Final = ValueType("a URL postgres://user:password@host:port/database", _postgres_url)
REDIS: Final = ValueType("a URL redis://, rediss:// or unix://", _redis_url)
SENTRY: Final = ValueType("a URL https://key@host/project", _sentry_dsn)


def whole(least: int, most: int) -> ValueType[int]:
    """Return the kind of a whole number within bounds."""

    def read(given: str) -> int:
        _demand(met=given.isascii() and given.isdecimal() and least <= int(given[:10]) <= most)
        return int(given)

    return ValueType(f"a whole number from {least} to {most}", read)


def one_of(*choices: str) -> ValueType[str]:
    """Return the kind of a word out of a few."""

    def read(given: str) -> str:
        _demand(met=given in choices)
        return given

    return ValueType(f"one of {', '.join(choices)}", read)
