"""Who has the port: whether what answers there is another Holdfast.

Owns: one question over HTTP or HTTPS. Must not know: why it is asked. The certificate is not looked at, since nothing
is told to whoever answers and nothing that it says is believed but its name.
"""

from __future__ import annotations

import http.client
import ssl
from typing import Final

__all__ = ["is_holdfast"]

_PATIENCE_S: Final = 1.0
_HERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where an address that stands for all is reached


def is_holdfast(host: str, port: int) -> bool:
    """True where the server on this port calls itself Holdfast; False too where nothing answers within a second or so."""
    address = _HERE.get(host, host)
    return _asks_holdfast(http.client.HTTPConnection(address, port, timeout=_PATIENCE_S)) or _asks_holdfast(
        http.client.HTTPSConnection(address, port, timeout=_PATIENCE_S, context=_trusting())
    )


def _asks_holdfast(connection: http.client.HTTPConnection) -> bool:
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().getheader("Server") == "holdfast"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
