"""OwnHosts: whether a Host field names this server, for a server on which nobody logs in.

Owns: the names that such a server answers to. Must not know: requests, answers.

A page of any site can have its own name resolve to 127.0.0.1 once it is loaded ("DNS rebinding"); what its script
then asks of that name is of the same origin to the browser, and reaches a server on this machine. What such a page cannot choose
is the Host field, which carries its name. So where no password stands in between, only names that no stranger can
have are answered: addresses, localhost, this machine's own name, and those that the settings add.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import Final

__all__ = ["OwnHosts"]

_MOST_KNOWN: Final = 256


class OwnHosts:
    """A predicate on the bytes of a Host field (RFC 9110 section 7.2); used from one thread."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        """Answer to `names` too, in any case and on any port."""
        self._names = {"localhost", socket.gethostname().lower(), *(name.lower().rstrip(".") for name in names)}
        self._known: dict[bytes, bool] = {}

    def __call__(self, host: bytes) -> bool:
        """True where the field names this server; the port is not looked at."""
        found = self._known.get(host)
        if found is None:
            found = self._is_own(host.decode("latin-1"))
            if len(self._known) < _MOST_KNOWN:
                self._known[host] = found
        return found

    def _is_own(self, host: str) -> bool:
        name = host.strip().lower()
        if name.startswith("["):
            return _is_address(name[1:].partition("]")[0])
        name = name.partition(":")[0].rstrip(".")
        return name in self._names or name.endswith(".localhost") or _is_address(name)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
