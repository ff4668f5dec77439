"""PostgreSQL connection URLs, parsed by libpq: their parameters, and a connection's host, encryption and password.

The URL is one of several sources of libpq. Its query may name another `host`, a `hostaddr` or a `service`; a service file, a
password file and the PG… variables of the environment supply the parameters that it leaves out. A check of the URL alone may
check values that are not used, so libpq itself resolves them here. No connection is made, and no name is looked up.

Raises: ValueError for a URL that libpq would reject; its text may quote the URL.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from psycopg import Error, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

SCHEMES: Final = ("postgres://", "postgresql://")
# A folder without a socket: libpq checks all parameters before it looks there.
MISSING_SOCKET: Final = "/dev/null/nowhere"
# libpq parses these only when it connects. The settings have values for those that a URL leaves out.
INTEGER_PARAMETERS: Final = (
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
)


@dataclass(frozen=True)
class Route:
    """The route of a connection.

    over_network: whether it leaves this machine.
    sslmode: of the URL, the service or the environment; else libpq's default.
    has_proof: whether there is a password (of the first host, if there are several) or a client certificate.
    """

    over_network: bool
    sslmode: str
    has_proof: bool


def parameters(url: str) -> dict[str, str]:
    """Return the parameters of a URL, by libpq's names.

    A socket's folder may be written as libpq has it, `@%2Frun%2Fpostgresql/name`, or, as in django-environ's URLs, before
    the name: `@//run/postgresql/name`.
    """
    _require(valid=url.startswith(SCHEMES))
    # libpq takes ssl=true for sslmode=require, for compatibility with JDBC, and no other ssl.
    _require(valid=re.search(r"[?&]ssl=", url) is None)
    try:
        found = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except Error as error:
        raise ValueError(*error.args) from None
    name = found.get("dbname", "")
    if name.startswith("/") and not found.get("host"):
        found["host"], _, found["dbname"] = name.rpartition("/")
    # An extra slash, or a port behind a folder, is not part of a name.
    _require(valid="/" not in found.get("dbname", "") and re.search(r"/.*:\d*$", found.get("host", "")) is None)
    return found


def check(found: dict[str, str]) -> None:
    """Raise `ValueError` if libpq would reject a parameter before it connects."""
    effective, _ = _effective(found)
    _require(valid=all(re.fullmatch(r"-?\d{1,9}", found.get(name, "0"), re.ASCII) for name in INTEGER_PARAMETERS))
    # An empty port is the default port.
    ports = filter(None, effective.get("port", "").split(","))
    _require(valid=all(re.fullmatch(r"\d{1,5}", port, re.ASCII) and 0 < int(port) < 2**16 for port in ports))
    hosts = ",".join(MISSING_SOCKET for _ in _hosts(effective))
    tried = _start(found | {"host": hosts, "hostaddr": ""})
    _require(valid=MISSING_SOCKET.encode() in tried.error_message)


def route(found: dict[str, str]) -> Route:
    """Return the route that libpq will use."""
    effective, password = _effective(found)
    return Route(
        over_network=not all(map(_is_local, _hosts(effective))),
        sslmode=effective.get("sslmode", ""),
        has_proof=bool(password or effective.get("sslcert")),
    )


def _effective(found: dict[str, str]) -> tuple[dict[str, str], bytes]:
    """Return all parameters of all sources, and the password.

    A value that libpq rejects ends the attempt after all sources have been read (the password file, too), and before a
    socket is created.
    """
    rejected = _start(found | {"target_session_attrs": "none"})
    return {
        each.keyword.decode(): each.val.decode() for each in rejected.info if each.val is not None
    }, rejected.password


def _start(found: dict[str, str]) -> pq.abc.PGconn:
    return pq.PGconn.connect_start(make_conninfo(**found).encode())


def _hosts(effective: dict[str, str]) -> list[str]:
    """Return the hosts in the order of the attempts; an address takes the place of its name."""
    names, addresses = (effective.get(name, "").split(",") for name in ("host", "hostaddr"))
    if addresses == [""]:
        return names
    if names == [""]:
        return addresses
    return [address or name for name, address in zip(names, addresses, strict=True)]


def _is_local(host: str) -> bool:
    """Return whether a host is this machine: none, a socket (`@`: an abstract one), or a loopback address."""
    if not host or host.startswith(("/", "@")) or host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _require(*, valid: bool) -> None:
    if not valid:
        raise ValueError
