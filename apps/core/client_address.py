"""Client addresses: the one rate_limit_key whom a limit counts, however a proxy has written the address.

Each part that a client changes at will (the port; of IPv6 the lower half) would be a new key to the limit, and with it no
limit at all.
"""

import ipaddress
import re
from typing import Final

# What one rate_limit_key has of IPv6; of its 2^64 addresses each request could use another.
IPV6_PREFIX: Final = 64
NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# All that is no address is one rate_limit_key: else each invented word would be another.
NO_ADDRESS: Final = "unknown"

_BRACKETED: Final = re.compile(r"\[([^]]*)\](?::.*)?")
_LEADING_ZEROS: Final = re.compile(r"(?<![0-9a-f])0+(?=[0-9])", re.IGNORECASE)


def rate_limit_key(address: str | None) -> str:
    """Return what is counted for an address: IPv6 stands for its /64, IPv4 for itself, also inside of IPv6."""
    ip = _parsed(address or "")
    if ip is None:
        return NO_ADDRESS
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if embedded := _embedded(ip):
        return str(embedded)
    return str(ipaddress.IPv6Network((int(ip), IPV6_PREFIX), strict=False))


def _parsed(written: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Parse an address or a node of RFC 7239 §6: perhaps quoted, in brackets, with a port, with a zone."""
    node = written.strip().strip('"').strip()
    bracketed = _BRACKETED.fullmatch(node)
    # Whole at first: of IPv6 without brackets, the last group looks like a port.
    for candidate in [bracketed[1]] if bracketed else [node, node.rpartition(":")[0]]:
        try:
            return ipaddress.ip_address(_LEADING_ZEROS.sub("", candidate.partition("%")[0]))
        except ValueError:
            continue
    return None


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address of the rate_limit_key, where IPv6 only carries it: mapped, NAT64, 6to4, Teredo."""
    if ip in NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
