"""A connection for one request: names looked up, addresses checked, TLS, and a stream that ends by itself.

Owns: the socket, the deadline that everything shares, the cap on bytes, and the plain words for what goes wrong. Must not know: HTTP.
"""

from __future__ import annotations

import io
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from holdfast.inspector.addresses import AddressGuard
from holdfast.inspector.targets import FetchError, Target

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Deadline", "Resolve", "Wire", "connect", "resolve"]

Resolve = Callable[[str, int], Sequence[str]]
"""The addresses of a host for a port, as text. Raises OSError where it has none."""

_PIECE: Final = 64 * 1024
_CONNECT_S: Final = 10.0


class Deadline:
    """The instant at which all must be done."""

    def __init__(self, seconds: float) -> None:
        """From now on."""
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds until then; 0 once it has passed."""
        return max(0.0, self._end - time.monotonic())

    @property
    def spent_s(self) -> float:
        """Seconds since the beginning."""
        return self.seconds - (self._end - time.monotonic())


def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses that the system knows for a host."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class Wire(io.RawIOBase):
    """What comes over a socket, as a stream. It ends at the deadline and at `most` bytes too; `ended` tells which.

    Closing it closes the socket.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline, most: int) -> None:
        """Take the socket over."""
        self.sock = sock
        self.deadline = deadline
        self.ended = ""
        """Empty, or `closed`, `reset`, `deadline`, `most`."""
        self.peeked = b""
        """What has come and was not read yet."""
        self._room = most

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Some bytes; 0 at the end, whatever brought it."""
        view = memoryview(buffer).cast("B")
        if not self.peeked:
            self.peeked = self._receive(self.deadline.left_s)
        data, self.peeked = self.peeked[: len(view)], self.peeked[len(view) :]
        view[: len(data)] = data
        return len(data)

    def wait(self, within_s: float) -> None:
        """Let something come, for so long at most, or less where the other side ends: see `peeked` and `ended`."""
        if len(self.peeked) < _PIECE and not self.ended:
            self.peeked += self._receive(within_s, is_patient=True)

    def send(self, data: memoryview) -> int:
        """Send some of the data now, within a quarter of a second; 0 where the other side takes none. Raises OSError."""
        self.sock.settimeout(min(0.25, self.deadline.left_s) or 0.001)
        try:
            return self.sock.send(data)
        except (TimeoutError, ssl.SSLWantWriteError, ssl.SSLWantReadError, BlockingIOError):
            return 0

    def close(self) -> None:
        """Close the socket."""
        if not self.closed:
            self.sock.close()
        super().close()

    def _receive(self, within_s: float, *, is_patient: bool = False) -> bytes:
        if self._room <= 0:
            self.ended = self.ended or "most"
            return b""
        if self.deadline.left_s <= 0:
            self.ended = self.ended or "deadline"
            return b""
        self.sock.settimeout(max(0.001, min(within_s, self.deadline.left_s)))
        try:
            data = self.sock.recv(min(_PIECE, self._room))
        except (TimeoutError, ssl.SSLWantReadError, BlockingIOError):
            if not is_patient:
                self.ended = self.ended or "deadline"
            return b""
        except OSError:
            self.ended = self.ended or "reset"
            return b""
        if not data:
            self.ended = self.ended or "closed"
        self._room -= len(data)
        return data


class _Looked(msgspec.Struct, frozen=True):
    addresses: Sequence[str] = ()
    error: OSError | UnicodeError | None = None


def connect(
    target: Target, deadline: Deadline, *, guard: AddressGuard | None, look_up: Resolve, checks_tls: bool, most: int
) -> Wire:
    """A connection to the host of `target`, with TLS for https. Raises FetchError in plain words.

    With a guard, each address of the host must be allowed; the one that was checked is connected to, with no second look-up.
    """
    if guard is not None and not guard.allows_port(target.port):
        msg = f"Port {target.port} is not asked from here, only {', '.join(map(str, sorted(guard.ports)))}."
        raise FetchError(msg)
    found = _looked_up(target, deadline, look_up)
    if guard is not None and (found.error is not None or not all(guard.allows(each) for each in found.addresses)):
        # The same words for both, so that nobody learns which names a private network has.
        msg = f"{target.host} is no host of the public internet, and others are not asked from here."
        raise FetchError(msg)
    if found.error is not None:
        msg = f"The host {target.host} is not known: {_said(found.error)}."
        raise FetchError(msg) from found.error
    sock = _connected(target, found.addresses, deadline, is_guarded=guard is not None)
    if target.scheme == "https":
        sock = _secured(sock, target, deadline, checks_tls=checks_tls)
    return Wire(sock, deadline, most)


def _looked_up(target: Target, deadline: Deadline, look_up: Resolve) -> _Looked:
    """The addresses; on a thread of its own, since a look-up cannot be told when to give up."""
    answers: queue.SimpleQueue[_Looked] = queue.SimpleQueue()

    def look() -> None:
        try:
            answers.put(_Looked(look_up(target.host, target.port)))
        except (OSError, UnicodeError) as error:
            answers.put(_Looked(error=error))

    threading.Thread(target=look, name="holdfast-look-up", daemon=True).start()
    try:
        found = answers.get(timeout=deadline.left_s)
    except queue.Empty:
        found = _Looked(error=TimeoutError(f"no answer within {deadline.seconds:g} seconds"))
    if not found.addresses and found.error is None:
        return _Looked(error=OSError("it has no address"))
    return found


def _connected(target: Target, addresses: Sequence[str], deadline: Deadline, *, is_guarded: bool) -> socket.socket:
    """A socket to the first address that answers."""
    last: OSError | None = None
    for address in addresses:
        is_v6 = ipaddress.ip_address(address).version == 6
        sock = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.settimeout(max(0.001, min(_CONNECT_S, deadline.left_s)))
            sock.connect((address, target.port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            last = error
            continue
        if is_guarded and _is_own(sock):
            sock.close()
            msg = f"{target.host} is the machine that asks, and is not asked from here."
            raise FetchError(msg)
        return sock
    msg = f"{target.host} cannot be reached on port {target.port}: {'' if last is None else _said(last)}."
    raise FetchError(msg) from last


def _is_own(sock: socket.socket) -> bool:
    """True where both ends are this machine, on a public address too: what listens there may trust whoever comes from here."""
    try:
        return sock.getsockname()[0] == sock.getpeername()[0]
    except OSError:
        return False  # gone already, and nothing can be sent


def _secured(sock: socket.socket, target: Target, deadline: Deadline, *, checks_tls: bool) -> socket.socket:
    context = ssl.create_default_context()
    if not checks_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    try:
        sock.settimeout(max(0.001, deadline.left_s))
        return context.wrap_socket(sock, server_hostname=target.host)
    except ssl.SSLCertVerificationError as error:
        sock.close()
        msg = f"The certificate of {target.host} cannot be trusted: {error.verify_message.rstrip('.')}."
        raise FetchError(msg) from error
    except ssl.SSLError as error:
        sock.close()
        if error.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}:
            msg = f"{target.host} does not speak TLS on port {target.port}: is it http://, without the s?"
        else:
            msg = f"TLS with {target.host} failed: {(error.reason or str(error)).lower().replace('_', ' ')}."
        raise FetchError(msg) from error
    except OSError as error:
        sock.close()
        msg = f"{target.host} ended the connection before TLS was set up: {_said(error)}."
        raise FetchError(msg) from error


def _said(error: OSError | UnicodeError) -> str:
    """What the system says, as the end of a sentence."""
    if isinstance(error, TimeoutError):
        return str(error) if error.errno is None and error.args else "no answer in time"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text[:1].lower() + text[1:].rstrip(".")
