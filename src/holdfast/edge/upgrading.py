"""Connections that leave HTTP (RFC 9110 section 7.8): what either side sends goes to the other, byte for byte, until both end.

Owns: which protocols a request may ask for, whether an application's 101 is a true one, and the copying with its
back-pressure, half-closes and limits of time. Must not know: what the bytes mean, locks, how HTTP is parsed.

Theory of operation: behind a request that asks to leave HTTP nothing is parsed any more. What the client sends there waits in an
Inbox, and goes to the application only after its 101: before it nobody knows whether these bytes are HTTP, and two
parties that disagree about that are how requests are smuggled. For the same reason a WebSocket's 101 must prove that the
application has understood the key. Then a Tunnel copies with one task for each direction, either of which reads no faster
than the other side takes, and neither waits for the other.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from uvicorn.protocols.http.flow_control import FlowControl

from holdfast.edge.forwarding import connection_options
from holdfast.edge.intake import ClientGoneError
from holdfast.edge.sending import Outlet
from holdfast.edge.upstream import UpstreamError, Wire
from holdfast.wire.exchange import Request

__all__ = ["WEBSOCKET", "Inbox", "Tunnel", "Upgrades", "asked_protocols", "check_switch", "is_http"]

WEBSOCKET: Final = "websocket"

_HTTP: Final = frozenset({"h2", "h2c", "http", "tls"})
"""Protocols in which there are requests again, which no lock would be asked about (TLS: RFC 2817)."""

_HELD_BYTES: Final = 64 * 1024
"""What may wait of a client's bytes before its socket is read no more."""

_LAST_S: Final = 5.0
"""For how long what a client sent before it went is still passed on, in seconds."""

_KEY_SUFFIX: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrades:
    """Which protocols may pass, by their tokens in lower case; spans in seconds.

    A connection on which neither side sends anything for `idle_s` is closed; so is one that has ended in one direction,
    after `half_closed_s`.
    """

    protocols: frozenset[str] = frozenset()
    idle_s: float = 3600.0
    half_closed_s: float = 60.0


def is_http(protocol: str) -> bool:
    """Whether an Upgrade token leads to requests of HTTP again, as h2c does; those never pass."""
    return protocol.partition("/")[0].lower() in _HTTP


def asked_protocols(request: Request, fields: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """The protocols that a request asks to change to, in its order of preference and lower case; none where it does not."""
    upgrade = request.headers.get(b"upgrade")
    if upgrade is None or b"upgrade" not in connection_options(fields):
        return []
    return [token for option in upgrade.split(",") if (token := option.strip().lower())]


def check_switch(request: Request, offered: Iterable[str], fields: Iterable[tuple[bytes, bytes]]) -> str:
    """The protocol that a 101 with `fields` changes to. Raises UpstreamError for one that nobody offered.

    Of a WebSocket also where the answer to the key is wrong (RFC 6455 section 4.2.2): such a 101 may come from an
    application that was talked into the status and goes on reading HTTP.
    """
    told: dict[bytes, list[str]] = {}
    for name, value in fields:
        told.setdefault(name.lower(), []).append(value.decode("latin-1").strip())
    protocol = ", ".join(told.get(b"upgrade", []))
    if protocol.lower() not in offered:
        msg = f"it changed to the protocol {protocol!r}, which was not asked for"
        raise UpstreamError(msg)
    if protocol.lower() == WEBSOCKET:
        key = request.headers.fields.get(b"sec-websocket-key", b"")
        proof = base64.b64encode(hashlib.sha1(key + _KEY_SUFFIX, usedforsecurity=False).digest()).decode("ascii")
        if told.get(b"sec-websocket-accept") != [proof]:
            msg = "its 101 does not answer the WebSocket's key"
            raise UpstreamError(msg)
    return protocol


class Inbox:
    """What the client sends behind a request that asks to leave HTTP. Used from the loop's thread only."""

    def __init__(self, flow: FlowControl, loop: asyncio.AbstractEventLoop) -> None:
        """Read no more from the socket behind `flow` while too much waits here."""
        self._flow = flow
        self._loop = loop
        self._held = bytearray()
        self._reader: asyncio.Future[None] | None = None
        self._has_ended = False
        self.is_open = False
        """True once the connection has left HTTP."""

    def feed(self, data: bytes | memoryview) -> None:
        """Take what came."""
        self._held += data
        if len(self._held) > _HELD_BYTES:
            self._flow.pause_reading()
        self._wake()

    def end(self) -> None:
        """No more will come."""
        self._has_ended = True
        self._wake()

    async def read(self) -> bytes:
        """All that waits; empty at the end."""
        while not self._held:
            if self._has_ended:
                return b""
            self._reader = self._loop.create_future()
            await self._reader
        data, self._held = bytes(self._held), bytearray()
        if not self._has_ended:
            self._flow.resume_reading()
        return data

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class Client(Protocol):
    """What a tunnel asks of the connection that its client is on."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    outlet: Outlet


class Tunnel:
    """The client's and the application's connection, joined."""

    def __init__(self, client: Client, inbox: Inbox, far: Wire, upgrades: Upgrades) -> None:
        """`far` now belongs to the tunnel; `run` must be called."""
        self._client = client
        self._inbox = inbox
        self._far = far
        self._upgrades = upgrades
        self._loop = client.loop
        self._last = self._loop.time()
        self._is_lost = False
        self._stopped: asyncio.Future[None] = self._loop.create_future()
        self._giving_up: asyncio.TimerHandle | None = None

    async def run(self, head: bytes) -> None:
        """Send the 101's `head`, then copy until both sides have ended, or one is gone, or `stop`.

        Raises ClientGoneError where the client is to be cut off.
        """
        self._inbox.is_open = True
        tasks: list[asyncio.Task[bool]] = []
        try:
            await self._client.outlet.write(head)
            tasks = [asyncio.create_task(self._go_up()), asyncio.create_task(self._come_down())]
            await self._watch(tasks)
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            if self._giving_up is not None:
                self._giving_up.cancel()
            self._far.finish()
        if self._far.was_reset:
            await self._client.outlet.reset()  # a close would look as if the application had ended in order
            raise ClientGoneError

    def lose(self) -> None:
        """The client is gone; what it sent before may still reach the application."""
        self._is_lost = True
        self._inbox.end()
        if self._giving_up is None:
            self._giving_up = self._loop.call_later(_LAST_S, self.stop)

    def stop(self) -> None:
        """End both connections, now. Harmless when repeated."""
        if not self._stopped.done():
            self._stopped.set_result(None)

    async def _watch(self, tasks: list[asyncio.Task[bool]]) -> None:
        """Return once it is over. Each task gives True where the other direction may go on after its end."""
        running: set[asyncio.Future[None] | asyncio.Task[bool]] = {*tasks, self._stopped}
        while not self._stopped.done() and any(task in running for task in tasks):
            upgrades = self._upgrades
            limit_s = upgrades.idle_s if all(task in running for task in tasks) else upgrades.half_closed_s
            left_s = self._last + limit_s - self._loop.time()
            if left_s <= 0:
                return
            await asyncio.wait(running, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task in running and task.done():
                    running.discard(task)
                    self._last = self._loop.time()
                    if not task.result():
                        return

    async def _go_up(self) -> bool:
        far = self._far
        while data := await self._inbox.read():
            self._last = self._loop.time()
            try:
                await far.write(data)
            except UpstreamError:
                return True  # what it has said before its end may still go down
        return not self._is_lost and far.end_writing()

    async def _come_down(self) -> bool:
        outlet, transport = self._client.outlet, self._client.transport
        try:
            while data := await self._far.read():
                self._last = self._loop.time()
                await outlet.write(data)
        except ClientGoneError:
            return False
        if self._far.is_gone or transport.is_closing() or not transport.can_write_eof():
            return False
        transport.write_eof()
        return True
