"""Which hosts a server may be made to speak to, by people who type a URL into its form: those of the public internet.

Owns: the addresses that are not public, in every form in which IPv6 wraps an IPv4 address, and the allowed ports. Must not know:
names and look-ups. Whoever connects asks about the very address that it connects to (server-side request forgery, DNS rebinding).
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

import msgspec

__all__ = ["WEB_PORTS", "AddressGuard", "is_public"]

WEB_PORTS: Final = frozenset({80, 443})
"""The ports that a guard allows unless told otherwise."""

# Beside what `ipaddress` knows not to be global (IANA's special-purpose registries): what is, or may be, not what it seems.
_REFUSED_V4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; one cloud has its metadata at 100.100.100.200
        "168.63.129.16/32",  # a cloud's own service, reachable from each of its machines, in a public range
        "192.0.0.0/24",  # protocol assignments; one cloud has its metadata at 192.0.0.192
        "192.88.99.0/24",  # 6to4 relays
        "198.18.0.0/15",
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
)
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_REFUSED_V6: Final = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, benchmarking, ORCHID
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})


class AddressGuard(msgspec.Struct, frozen=True):
    """Lets connections through to public addresses, on these ports."""

    ports: frozenset[int] = WEB_PORTS

    def allows_port(self, port: int) -> bool:
        """Whether this TCP port may be connected to."""
        return port in self.ports

    def allows(self, address: str) -> bool:
        """Whether this address, as a look-up gave it, may be connected to; a text that is no address may not."""
        return is_public(address)


def is_public(address: str) -> bool:
    """True for an address that a host of the public internet has, False for any other and for what is no address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv4Address):
        return _is_public_v4(found)
    return _is_public_v6(found)


def _is_public_v4(address: IPv4Address) -> bool:
    return address.is_global and not any(address in network for network in _REFUSED_V4)


def _is_public_v6(address: IPv6Address) -> bool:
    if address.scope_id is not None:
        return False
    if address in _MAPPED or address in _NAT64:
        return _is_public_v4(IPv4Address(int(address) & 0xFFFFFFFF))
    if address not in _GLOBAL_V6 or any(address in network for network in _REFUSED_V6):
        return False
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:  # RFC 5214 section 6.1
        return _is_public_v4(IPv4Address(int(address) & 0xFFFFFFFF))
    return address.is_global and not address.is_multicast
