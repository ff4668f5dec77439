"""A database's URL as libpq reads it: what it accepts, and where a connection goes with which encryption and password.

The URL is one of several places that libpq reads. Its query may name another `host`, a `hostaddr` or a `service`; a service
file, a password file and the PG… variables of the environment supply what it leaves out. Whoever judges the URL alone judges
what may not be used, so libpq itself is asked here. Nobody is connected to, and no name is looked up.

Raises: ValueError for a URL that libpq would refuse; its text may quote the URL.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from psycopg import Error, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

SCHEMES: Final = ("postgres://", "postgresql://")
# A folder without a socket: libpq checks what it was given before it looks there.
NOWHERE: Final = "/dev/null/nowhere"
# Those whose value libpq reads when it connects, and not before; what a URL leaves open here, the settings say.
WHOLE_NUMBERS: Final = (
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
)


@dataclass(frozen=True)
class Route:
    """Where a connection goes, and how.

    over_network: whether it leaves this machine.
    sslmode: what is asked for, by whoever asks: the URL, the service or the environment; else libpq's default.
    has_proof: whether there is a password (of the first host, where there are several) or a client's certificate to show.
    """

    over_network: bool
    sslmode: str
    has_proof: bool


def parameters(url: str) -> dict[str, str]:
    """Return what a URL says, by libpq's names.

    A socket's folder may be written as libpq has it, `@%2Frun%2Fpostgresql/name`, or, as in django-environ's URLs, before
    the name: `@//run/postgresql/name`.
    """
    _demand(met=url.startswith(SCHEMES))
    # For JDBC's sake libpq takes ssl=true for sslmode=require, and no other ssl.
    _demand(met=re.search(r"[?&]ssl=", url) is None)
    try:
        found = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except Error as error:
        raise ValueError(*error.args) from None
    name = found.get("dbname", "")
    if name.startswith("/") and not found.get("host"):
        found["host"], _, found["dbname"] = name.rpartition("/")
    # A slash too many, or a port behind a folder, is no part of a name.
    _demand(met="/" not in found.get("dbname", "") and re.search(r"/.*:\d*$", found.get("host", "")) is None)
    return found


def check(found: dict[str, str]) -> None:
    """Raise `ValueError` if libpq would not even try to connect, whatever of it is at fault."""
    effective, _ = _effective(found)
    _demand(met=all(re.fullmatch(r"-?\d{1,9}", found.get(name, "0"), re.ASCII) for name in WHOLE_NUMBERS))
    # An empty one is the usual one.
    ports = filter(None, effective.get("port", "").split(","))
    _demand(met=all(re.fullmatch(r"\d{1,5}", port, re.ASCII) and 0 < int(port) < 2**16 for port in ports))
    hosts = ",".join(NOWHERE for _ in _hosts(effective))
    tried = _start(found | {"host": hosts, "hostaddr": ""})
    _demand(met=NOWHERE.encode() in tried.error_message)


def route(found: dict[str, str]) -> Route:
    """Return what libpq will use."""
    effective, password = _effective(found)
    return Route(
        over_network=not all(map(_is_here, _hosts(effective))),
        sslmode=effective.get("sslmode", ""),
        has_proof=bool(password or effective.get("sslcert")),
    )


def _effective(found: dict[str, str]) -> tuple[dict[str, str], bytes]:
    """Return all parameters, from wherever they come, and the password.

    A value that libpq refuses ends the attempt after all has been gathered (the password file was read, too), and before a
    socket is made.
    """
    ended = _start(found | {"target_session_attrs": "none"})
    return {each.keyword.decode(): each.val.decode() for each in ended.info if each.val is not None}, ended.password


def _start(found: dict[str, str]) -> pq.abc.PGconn:
    return pq.PGconn.connect_start(make_conninfo(**found).encode())


def _hosts(effective: dict[str, str]) -> list[str]:
    """List the places that are tried; an address goes before the name that belongs to it."""
    names, addresses = (effective.get(name, "").split(",") for name in ("host", "hostaddr"))
    if addresses == [""]:
        return names
    if names == [""]:
        return addresses
    return [address or name for name, address in zip(names, addresses, strict=True)]


def _is_here(host: str) -> bool:
    """Tell whether a host is this machine: none, a socket (`@`: an abstract one), or a loopback address."""
    if not host or host.startswith(("/", "@")) or host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _demand(*, met: bool) -> None:
    if not met:
        raise ValueError
