"""Which hosts a server may be made to speak to, by people who type a URL into its form: those of the public internet.

Owns: the addresses that are not public, in every form in which IPv6 wraps an IPv4 address, the networks that this machine is in itself,
and the allowed ports. Must not know: names and look-ups. Whoever connects asks about the very address that it connects to (server-side request forgery, DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Final

import msgspec

__all__ = ["WEB_PORTS", "AddressGuard", "Network", "is_public", "own_networks", "read_routes"]

Network = IPv4Network | IPv6Network

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


_ROUTES: Final = Path("/proc/net")
_UP, _GATEWAY, _REJECT = 0x1, 0x2, 0x200
# A wider route without a gateway is no network of neighbours: a tunnel that all the internet goes through.
_WIDEST: Final = {4: 8, 6: 16}
_KEPT_S: Final = 30


def own_networks() -> tuple[Network, ...]:
    """The networks whose hosts this machine reaches without a router, of some seconds ago at most; none where the system does not tell."""
    return _own_networks(int(time.monotonic() // _KEPT_S))


@lru_cache(maxsize=1)
def _own_networks(_moment: int) -> tuple[Network, ...]:
    return read_routes(_ROUTES)


def read_routes(folder: Path) -> tuple[Network, ...]:
    """The networks of neighbours in Linux' tables `route` and `ipv6_route` of this folder; what cannot be read has none."""
    found = [*_parsed(folder / "route", _route_v4), *_parsed(folder / "ipv6_route", _route_v6)]
    return tuple(network for network in found if network.prefixlen >= _WIDEST[network.version])


def _parsed(path: Path, parse: Callable[[list[str]], Network | None]) -> Iterator[Network]:
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            network = parse(line.split())
        except (ValueError, IndexError):  # the line of titles
            continue
        if network is not None:
            yield network


def _route_v4(parts: list[str]) -> Network | None:
    flags = int(parts[3], 16)
    if not flags & _UP or flags & (_GATEWAY | _REJECT):
        return None
    place, mask = (int.from_bytes(bytes.fromhex(parts[at])[::-1], "big") for at in (1, 7))
    return IPv4Network((place, mask.bit_count()), strict=False)


def _route_v6(parts: list[str]) -> Network | None:
    flags = int(parts[8], 16)
    if not flags & _UP or flags & (_GATEWAY | _REJECT):
        return None
    return IPv6Network((int(parts[0], 16), int(parts[1], 16)), strict=False)


class AddressGuard(msgspec.Struct, frozen=True):
    """Lets connections through to public addresses, on these ports, but to none of `denied` and of this machine's own networks.

    A public address in a network of our own may belong to a machine that trusts its neighbours.
    """

    ports: frozenset[int] = WEB_PORTS
    denied: tuple[Network, ...] = ()
    neighbours: Callable[[], tuple[Network, ...]] = own_networks

    def allows_port(self, port: int) -> bool:
        """Whether this TCP port may be connected to."""
        return port in self.ports

    def allows(self, address: str) -> bool:
        """Whether this address, as a look-up gave it, may be connected to; a text that is no address may not."""
        if not is_public(address):
            return False
        refused = (*self.denied, *self.neighbours())
        return not any(meant in network for meant in _meant(address) for network in refused)


def _meant(address: str) -> Iterator[IPv4Address | IPv6Address]:
    """The address, and the IPv4 address in it where it wraps one."""
    found = ipaddress.ip_address(address)
    yield found
    if isinstance(found, IPv6Address) and (
        found in _MAPPED or found in _NAT64 or (int(found) >> 32) & 0xFFFFFFFF in _ISATAP
    ):
        yield IPv4Address(int(found) & 0xFFFFFFFF)


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
