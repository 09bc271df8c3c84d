"""Listening sockets: a host and a port become sockets that already listen, or one plain sentence why not.

Owns: resolving the host, IPv4 and IPv6, and the words for what can go wrong. Must not know: HTTP, TLS, who
accepts the connections. Sockets listen before they are handed out, so that "in use" is known before anything
else is started, and two servers cannot both believe that they have the port.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import Final

__all__ = ["BACKLOG", "ListeningError", "PortInUseError", "base_url", "bind", "is_everywhere", "is_loopback_only"]

BACKLOG: Final = 2048
"""Connections that the system may hold ready before they are accepted."""

_ABSENT: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT}


class ListeningError(Exception):
    """The address cannot be listened on; the text is a plain sentence that says what to change."""


class PortInUseError(ListeningError):
    """Somebody listens there already."""


def is_loopback_only(host: str) -> bool:
    """True where every address that `host` stands for is reachable from this machine alone.

    Raises ListeningError where the name stands for no address.
    """
    return all(address.is_loopback for address in _addresses(host))


def is_everywhere(host: str) -> bool:
    """True where `host` stands for all of this machine's addresses, as 0.0.0.0 and :: do. Raises as `is_loopback_only`."""
    return any(address.is_unspecified for address in _addresses(host))


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on every address of `host`; port 0 takes a free one, the same for all addresses.

    Raises ListeningError. The sockets are the caller's to close.
    """
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    chosen = port
    for family, address in _resolve(host, port):
        try:
            sock = _listen(family, (*address[:1], chosen, *address[2:]), dual_stack=host == "::")
        except OSError as error:
            if error.errno in _ABSENT:  # `localhost` may name ::1 on a machine without IPv6
                absent = error
                continue
            for opened in sockets:
                opened.close()
            raise _explain(error, host, chosen) from error
        chosen = sock.getsockname()[1]
        sockets.append(sock)
    if not sockets and absent is not None:
        raise _explain(absent, host, port) from absent
    return sockets


def base_url(scheme: str, host: str, sockets: list[socket.socket]) -> str:
    """Where a browser on this machine finds the server: scheme, host and real port, with a trailing slash."""
    port = sockets[0].getsockname()[1]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"{scheme}://{shown}:{port}/"


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    return [ipaddress.ip_address(str(address[0]).partition("%")[0]) for _, address in _resolve(host, 0)]


def _resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str | int, ...]]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        msg = f"The host {host!r} has no address: check the spelling, or give an IP address such as 127.0.0.1."
        raise ListeningError(msg) from error
    unique: dict[tuple[socket.AddressFamily, tuple[str | int, ...]], None] = {}
    for family, _, _, _, address in found:
        unique[family, (str(address[0]), port, *address[2:])] = None
    return list(unique)


def _listen(family: socket.AddressFamily, address: tuple[str | int, ...], *, dual_stack: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual_stack else 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _explain(error: OSError, host: str, port: int) -> ListeningError:
    if error.errno == errno.EADDRINUSE:
        msg = f"Port {port} on {host} is in use by another program: stop that one, or choose a free port with --port 0."
        return PortInUseError(msg)
    if error.errno in {errno.EACCES, errno.EPERM}:
        msg = f"This account may not listen on port {port}: choose a port from 1024 up, for example --port 4230."
    elif error.errno in _ABSENT:
        msg = f"The address {host} is not one of this machine's: use 127.0.0.1 for this machine only, 0.0.0.0 for all networks."
    else:
        msg = f"Cannot listen on {host}, port {port}: {error.strerror}."
    return ListeningError(msg)
