"""Client addresses for rate limits: an IPv6 address counts as its /64, however a proxy has written it.

A key with a part that a client can change at will (the port; the lower half of an IPv6 address) would be a new key for each
request, and so no limit.
"""

import ipaddress
import re
from typing import Final

# One subscriber's part of IPv6: each request could use another of its 2^64 addresses.
IPV6_PREFIX: Final = 64
NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# Everything that is not an address shares this key: otherwise each invented word would be a new one.
NO_ADDRESS: Final = "unknown"

_BRACKETED: Final = re.compile(r"\[([^]]*)\](?::.*)?")
_LEADING_ZEROS: Final = re.compile(r"(?<![0-9a-f])0+(?=[0-9])", re.IGNORECASE)


def rate_limit_key(address: str | None) -> str:
    """Return the key that limits count for an address: the /64 of IPv6, IPv4 itself, also when embedded in IPv6."""
    ip = _parse(address or "")
    if ip is None:
        return NO_ADDRESS
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if embedded := _embedded(ip):
        return str(embedded)
    return str(ipaddress.IPv6Network((int(ip), IPV6_PREFIX), strict=False))


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Parse an address or a node of RFC 7239 §6, with optional quotes, brackets, port and zone."""
    node = text.strip().strip('"').strip()
    bracketed = _BRACKETED.fullmatch(node)
    # The whole node first: the last group of an IPv6 address without brackets looks like a port.
    for candidate in [bracketed[1]] if bracketed else [node, node.rpartition(":")[0]]:
        try:
            return ipaddress.ip_address(_LEADING_ZEROS.sub("", candidate.partition("%")[0]))
        except ValueError:
            continue
    return None


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address embeds (mapped, NAT64, 6to4, Teredo), or None."""
    if ip in NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
