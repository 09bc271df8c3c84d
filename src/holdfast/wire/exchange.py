"""Request and Response: the two values between the edge and a face.

A face is plain synchronous code, `Request -> Response`. The edge parses HTTP into a Request, calls
the face (at once or on a thread), and sends the Response. Neither knows the other; both know this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, Protocol, runtime_checkable

import msgspec

from holdfast.core.access import Principal
from holdfast.wire.scripts import Script

__all__ = ["Body", "Face", "FileRegion", "Headers", "Pending", "Request", "Response", "Sink", "Stream", "Upload"]


class Headers:
    """The fields of a request, by lower-case name; a repeated field is joined with `, ` (RFC 9110 section 5.3)."""

    __slots__ = ("fields",)

    fields: dict[bytes, bytes]
    """The same as bytes, for a test or two without a call."""

    def __init__(self, fields: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Take the (lower-case name, value) pairs as the parser gave them."""
        joined = dict(fields)
        if len(joined) != len(fields):
            joined = {}
            for name, value in fields:
                joined[name] = joined[name] + b", " + value if name in joined else value
        self.fields = joined

    def get(self, name: bytes) -> str | None:
        """The field's text, or None; the bytes are read as Latin-1, so no value can fail to decode."""
        value = self.fields.get(name)
        return None if value is None else value.decode("latin-1")

    def has_any(self, names: frozenset[bytes]) -> bool:
        """True where one of these fields was sent."""
        return not names.isdisjoint(self.fields)

    def __contains__(self, name: bytes) -> bool:
        """True where the field was sent, empty or not."""
        return name in self.fields


class Upload(Protocol):
    """A request body that lies complete in a staged file, on the served folder's file system."""

    @property
    def length(self) -> int:
        """Bytes received."""
        ...

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append; raises OSError (ENOSPC among others) with nothing half-visible anywhere."""
        ...

    def discard(self) -> None:
        """Remove the staged file; harmless when it was already used or discarded."""
        ...


class Request(msgspec.Struct):
    """One HTTP request, its body complete.

    `target` is the raw path as sent (percent-encoded, without the query). `principal` is None when
    no credentials were sent or they were wrong: the face answers 401 where it needs one.
    `client` is the peer's address, for logs and the record of a lock. `started` is when its head was complete, in
    seconds of `time.perf_counter`; 0 where nobody measures how long it takes.
    """

    method: str
    target: str
    headers: Headers
    principal: Principal | None
    body: bytes | Upload = b""
    query: str = ""
    scheme: str = "http"
    client: str = ""
    started: float = 0.0


class FileRegion(msgspec.Struct):
    """`length` bytes of `file` from `offset`; whoever sends it closes the file, whatever happens."""

    file: BinaryIO
    offset: int
    length: int


@runtime_checkable
class Pending(Protocol):
    """In the place of a body: the answer is not known yet, and the request is parked until it is.

    Every call comes from the edge's thread and must be brief.
    """

    def start(self, answer: Callable[[Response], None]) -> None:
        """The request is parked. `answer` is to be called once, on this thread, now or later; its Response is never Pending."""
        ...

    def abandon(self) -> None:
        """The client is gone: `answer` must not be called any more. Harmless after the answer."""
        ...

    def hasten(self) -> None:
        """The server stops: call `answer` now, with what can be said."""
        ...


class Sink(Protocol):
    """Where a Stream sends to; used on the edge's thread."""

    def send(self, data: bytes) -> bool:
        """Send a chunk now. False: the client takes too little and was cut off, or is gone; `stop` follows or has come."""
        ...

    @property
    def has_room(self) -> bool:
        """True while the client has taken most of what was sent before: whoever has much to send asks first, and waits."""
        ...

    def end(self) -> None:
        """The stream is over; the answer ends as it should."""
        ...


@runtime_checkable
class Stream(Protocol):
    """A body that comes as things happen. Every call comes from the edge's thread and must be brief."""

    def start(self, sink: Sink) -> None:
        """The head is sent; send to `sink` from now on."""
        ...

    def stop(self) -> None:
        """The client is gone, or the server stops: nothing more is to be sent. Called once at most, not after `end`."""
        ...


Body = bytes | list[bytes | FileRegion] | Iterator[bytes] | Pending | Stream | Script
"""All bytes; parts of known size in order (ranges of files); chunks of a size not known before; what comes later; or a script."""


class Response(msgspec.Struct):
    """The answer. The edge adds Date, Content-Length or chunking, and Connection.

    `awaits_sync` holds the answer back until everything committed so far is on disk (durability
    "power"). On a HEAD request the edge sends the length of the body and not the body. Where the body is Pending,
    status and headers mean nothing: those of the answer that comes later are sent.
    """

    status: int
    headers: list[tuple[str, str]]
    body: Body = b""
    awaits_sync: bool = False


class Face(Protocol):
    """What the edge asks of a face."""

    def admit(self, head: Request) -> Response | None:
        """Refuse a request by its head (401, 403, 412, 413, 423, 507), or None: it is welcome.

        Called before a body is read, or for what is not brief; the body says nothing yet. Must be brief itself.
        What it lets pass is checked again at commit.
        """
        ...

    def is_brief(self, request: Request) -> bool:
        """True when the answer is short work that never waits, and may be given without a thread."""
        ...

    def __call__(self, request: Request) -> Response:
        """Answer. An Upload in the body is the face's to use or discard. Must not raise for any input."""
        ...
