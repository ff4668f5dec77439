"""Whose an address is: what is counted where addresses are counted."""

import ipaddress
from typing import Final

# What one subscriber has of IPv6; of its 2^64 addresses each request could use another.
IPV6_PREFIX: Final = 64


def subscriber(address: str) -> str:
    """Return what is counted for an address: an IPv6 address stands for its /64, an IPv4 address for itself."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(ip), IPV6_PREFIX), strict=False))
