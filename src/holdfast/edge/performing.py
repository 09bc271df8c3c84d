"""Scripts at work: each step of a Script as it is due, on the connection whose request it answers.

Owns: what each step puts on the wire, waits that end when nobody waits any more, and the count of scripts at work.
Must not know: what a script is for, other requests; whether the connection is kept is told to whoever asked.

Theory of operation: a script is performed by the task of its cycle. Beside that it stands on its connection, as a
parked request does: so the connection goes on reading, hears when the client goes, and tells it and a stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from holdfast.edge.heads import BODILESS, HeadError, encode_interim, problem
from holdfast.edge.intake import ClientGoneError, RefusedError
from holdfast.edge.runtime import Runtime
from holdfast.edge.sending import Outlet
from holdfast.wire.exchange import Request, Response
from holdfast.wire.scripts import Cut, Data, End, Framing, Head, Interim, MalformedChunk, Script, Step, Wait

__all__ = ["Connection", "Performance", "Standing"]

_SWITCHING_PROTOCOLS: Final = 101
_RESET_CONTENT: Final = 205
_LAST_CHUNK: Final = b"0\r\n\r\n"
_NO_SIZE: Final = b"malformed\r\n"


class Standing(Protocol):
    """What is told of the connection's end while its answer is not there, or not whole, yet."""

    def lost(self) -> None:
        """The client is gone."""
        ...

    def hasten(self) -> None:
        """The server stops."""
        ...


class Connection(Protocol):
    """What a script asks of the connection it is on."""

    loop: asyncio.AbstractEventLoop
    runtime: Runtime
    transport: asyncio.Transport
    outlet: Outlet

    @property
    def is_stopping(self) -> bool:
        """True once the server's graceful end has begun."""
        ...

    def begin_standing(self, standing: Standing, /) -> None:
        """Tell `standing` when the client goes or the server stops."""
        ...

    def end_standing(self, standing: Standing, /) -> None:
        """Tell it no more."""
        ...

    def head_of(
        self,
        request: Request | None,
        response: Response,
        length: int | None,
        *,
        chunked: bool,
        keep: bool,
        http10: bool,
        switches: bool = False,
    ) -> bytes:
        """The head as bytes; raises HeadError."""
        ...


class Performance:
    """One script that is performed once."""

    def __init__(
        self, connection: Connection, request: Request, response: Response, script: Script, *, http10: bool
    ) -> None:
        """`script` is the body of `response`, which answers `request`."""
        self._connection = connection
        self._request = request
        self._response = response
        self._script = script
        self._http10 = http10
        self._switches = response.status == _SWITCHING_PROTOCOLS
        self._has_content = request.method != "HEAD" and response.status not in BODILESS | {_RESET_CONTENT}
        self._chunked = False
        self._is_sound = _is_sound(script)
        self._hurry: asyncio.Future[None] = connection.loop.create_future()

    async def perform(self, may_keep: Callable[[], bool], starts: Callable[[], None]) -> bool:
        """Do all steps; True when the connection may be kept after it.

        `may_keep` says at the head whether anything else forbids that; `starts` is called before the head goes.
        Raises RefusedError where too many scripts are at work, HeadError, ClientGoneError (also after a Cut).
        """
        connection = self._connection
        with _Slot(connection.runtime):
            connection.begin_standing(self)
            if connection.is_stopping:
                self.hasten()
            try:
                keep = False
                for step in self._script.steps:
                    if isinstance(step, Head):
                        keep = await self._send_head(step, keep=may_keep(), starts=starts)
                    else:
                        await self._do(step)
                return keep
            finally:
                connection.end_standing(self)

    def lost(self) -> None:
        """The client is gone."""
        self.hasten()

    def hasten(self) -> None:
        """The server stops: do what is left without waiting."""
        if not self._hurry.done():
            self._hurry.set_result(None)

    async def _do(self, step: Step) -> None:
        outlet = self._connection.outlet
        match step:
            case Wait():
                await self._wait(step.seconds)
            case Interim():
                if not self._http10:
                    await outlet.write(encode_interim(step.status, step.headers))
            case Data():
                if self._has_content and step.data:  # an empty chunk would be the last
                    await outlet.write(_chunk(step.data) if self._chunked else step.data)
            case MalformedChunk():
                if self._has_content:
                    await outlet.write(_NO_SIZE + step.data + b"\r\n" if self._chunked else step.data)
            case End():
                if self._has_content and self._chunked and self._is_sound:
                    await outlet.write(_LAST_CHUNK)
            case Cut():
                await self._cut()
            case Head():
                raise AssertionError

    async def _wait(self, seconds: float) -> None:
        if seconds:
            await asyncio.wait([self._hurry], timeout=seconds)
        if self._connection.transport.is_closing():
            raise ClientGoneError

    async def _send_head(self, head: Head, *, keep: bool, starts: Callable[[], None]) -> bool:
        """True when the connection may be kept after the answer."""
        data, keep = self._head(head.framing, keep=keep)
        starts()
        await self._connection.outlet.write(data)
        return keep

    def _head(self, framing: Framing | int, *, keep: bool) -> tuple[bytes, bool]:
        if self._switches:
            if self._http10 or not _is_asked_for(self._request, self._response):
                msg = "the request did not ask for the protocol that its answer switches to"
                raise HeadError(msg)
            framing = Framing.CLOSE
        self._chunked = framing is Framing.CHUNKED and not self._http10
        length = self._script.length if framing is Framing.LENGTH else framing if isinstance(framing, int) else None
        if self._response.status == _RESET_CONTENT:
            length = 0
        ends_clearly = self._chunked or length is not None
        keep = keep and self._is_sound and ends_clearly and not self._switches
        shows_chunked = self._chunked and self._response.status not in BODILESS | {_RESET_CONTENT}
        data = self._connection.head_of(
            self._request,
            self._response,
            length,
            chunked=shows_chunked,
            keep=keep,
            http10=self._http10,
            switches=self._switches,
        )
        return data, keep

    async def _cut(self) -> None:
        """Reset the connection; whoever counts answers is told of one that never came too."""
        if not any(isinstance(step, Head) for step in self._script.steps):
            self._head(Framing.LENGTH, keep=False)
        await self._connection.outlet.reset()
        raise ClientGoneError


class _Slot:
    """One of the scripts at work. Raises RefusedError where there are too many."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def __enter__(self) -> None:
        limits = self._runtime.config.limits
        if self._runtime.scripts >= limits.scripts:
            wait = ("retry-after", str(limits.retry_after_s))
            raise RefusedError(problem(503, "Too many scripted answers are under way; try again shortly.", [wait]))
        self._runtime.scripts += 1

    def __exit__(self, *_: object) -> None:
        self._runtime.scripts -= 1


def _is_sound(script: Script) -> bool:
    """False where the content ends and is not what its framing says: then nothing may follow it on its connection."""
    if isinstance(script.steps[-1], Cut):
        return True  # and until then it looks like any other
    for step in script.steps:
        if isinstance(step, MalformedChunk):
            return False
        if isinstance(step, Head) and isinstance(step.framing, int) and step.framing != script.length:
            return False
    return True


def _is_asked_for(request: Request, response: Response) -> bool:
    """True where the client asked for the one protocol that the answer switches to (RFC 9110 section 7.8)."""
    asked = _members(request.headers.get(b"upgrade") or "")
    told = [value.strip().lower() for name, value in response.headers if name.lower() == "upgrade"]
    return len(told) == 1 and told[0] in asked and "upgrade" in _members(request.headers.get(b"connection") or "")


def _members(field: str) -> set[str]:
    return {member.strip().lower() for member in field.split(",")} - {""}


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
