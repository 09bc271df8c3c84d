"""One short question to a server at start, by the standard library alone.

Owns: asking over TCP, TLS or a Unix socket, and nothing more: no redirects, no second try. Must not know: what is asked for.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from holdfast.edge.upstream import Upstream

__all__ = ["fetch_once"]

_WITHIN_S: Final = 5.0
_MOST_BYTES: Final = 64 * 1024


def fetch_once(upstream: Upstream, target: bytes) -> tuple[int, bytes]:
    """Status and content of GET `target`, without credentials. Raises OSError where there is no answer within some seconds."""
    connection = http.client.HTTPConnection(upstream.host or "localhost", upstream.port, timeout=_WITHIN_S)
    try:
        connection.sock = _connected(upstream)
        host = upstream.authority.decode("ascii")
        connection.request("GET", target.decode("ascii"), headers={"Host": host, "Accept": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read(_MOST_BYTES)
    except http.client.HTTPException as error:
        msg = f"what it answers is no HTTP: {type(error).__name__}"
        raise OSError(msg) from error
    finally:
        connection.close()


def _connected(upstream: Upstream) -> socket.socket:
    if upstream.path:
        local = socket.socket(socket.AF_UNIX)
        local.settimeout(_WITHIN_S)
        try:
            local.connect(upstream.path)
        except OSError:
            local.close()
            raise
        return local
    plain = socket.create_connection((upstream.host, upstream.port), timeout=_WITHIN_S)
    if not upstream.is_tls:
        return plain
    try:
        return ssl.create_default_context().wrap_socket(plain, server_hostname=upstream.host)
    except OSError:
        plain.close()
        raise
