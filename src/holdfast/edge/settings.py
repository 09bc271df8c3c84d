"""What the edge is given: where requests go, who asks, where uploads lie, and how much is allowed.

Owns: the contract between the edge and the composition root. Must not know: any face, store or
password scheme; they come in as the small protocols below.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from holdfast.core.access import Principal
from holdfast.wire.exchange import Face, Request, Response, Upload

if TYPE_CHECKING:
    from holdfast.edge.relaying import Relay

__all__ = ["SLOW", "EdgeConfig", "Identifier", "Limits", "Pulse", "Route", "Settle", "Slow", "Still", "mounted"]

Route = Callable[[str, str], "Face | Relay | None"]
"""(method, raw target path) -> the face that answers, the Relay that passes it on, or None for the ASGI application."""


class Slow(enum.Enum):
    """The one answer of `identify_now` that is no answer yet."""

    SLOW = "slow"


SLOW: Final = Slow.SLOW
"""The credentials are not in the cache: ask `identify_slowly`, on a thread."""


class Identifier(Protocol):
    """Turns the credentials in a request's head into a principal, in a brief and a slow way."""

    def identify_now(self, head: Request) -> Principal | Slow | None:
        """Answer from a cache, or without credentials; SLOW where a password hash must be computed. Never waits."""
        ...

    def identify_slowly(self, head: Request) -> Principal | None:
        """Answer at any cost; called on a thread. None: the credentials are wrong."""
        ...


class Settle(Protocol):
    """What makes work last: commits that are shared, and survival of power loss; a Store is one."""

    def hold(self) -> AbstractContextManager[None]:
        """Changes that this thread makes inside may wait for `commit_held`, and keep other threads from making any."""
        ...

    @property
    def has_held(self) -> bool:
        """True when changes of this thread wait for `commit_held`."""
        ...

    def commit_held(self) -> None:
        """Commit them; harmless without any. Raises when all of them are undone."""
        ...

    @property
    def has_unsynced(self) -> bool:
        """True when something committed may be lost with the power, and that is to be prevented."""
        ...

    def sync(self) -> None:
        """Return once all that was committed before the call is safe. Blocks."""
        ...


class Pulse(Protocol):
    """What happens by itself while requests are parked or streams are open. Called from the loop's thread only."""

    @property
    def is_wanted(self) -> bool:
        """False while nothing is parked and nobody listens: `beat` need not be called then."""
        ...

    def beat(self) -> float:
        """Look at what was committed and at the clock, and do what is due; seconds until the next call at the latest.

        Called inside `Settle.hold`, soon after this process has committed something and when the time is up. It must be
        brief, and answers parked requests and sends to streams.
        """
        ...


class Still:
    """Nothing is ever parked or streamed."""

    is_wanted: bool = False

    def beat(self) -> float:
        """Nothing is due, and nobody asks."""
        return math.inf


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much one client may ask, send or keep waiting. Sizes in bytes, spans in seconds."""

    head_bytes: int = 64 * 1024
    """Request line and fields together; more is answered 431."""
    head_fields: int = 200
    """Fields in one request; more is answered 431."""
    head_s: float = 20.0
    """From the first byte of a request to the end of its fields; later is answered 408."""
    memory_body_bytes: int = 64 * 1024
    """Bodies up to this size stay in memory; larger ones go to an upload."""
    body_bytes: int | None = None
    """Largest body of any request; more is answered 413. None: no limit but the disk."""
    body_window_s: float = 60.0
    """A body must bring `body_window_bytes` in every such span; otherwise it is answered 408."""
    body_window_bytes: int = 4096
    """See `body_window_s`."""
    idle_s: float = 75.0
    """How long a connection may stay open without a request."""
    stall_s: float = 60.0
    """How long a client may take no byte of an answer."""
    stream_unsent_bytes: int = 256 * 1024
    """How much of a stream may wait for a client that takes too little; beyond, the connection is cut off."""
    linger_s: float = 2.0
    """How long the rest of a refused body is read and dropped, so that the client can read the answer."""
    linger_bytes: int = 1024 * 1024
    """How much of it is read and dropped."""
    connections: int = 4096
    """Open connections of one process; more are answered 503."""
    uploads: int = 64
    """Bodies being received into uploads at once, in one process; more are answered 503."""
    scripts: int = 256
    """Scripted answers at work at once, in one process; more are answered 503."""
    pipelined: int = 64
    """Requests waiting behind an unfinished one on a connection; the connection ends after so many."""
    retry_after_s: int = 2
    """What a 503 says in Retry-After."""
    tick_s: float = 1.0
    """How often the spans above are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeConfig:
    """All that one edge needs to know of the rest."""

    route: Route
    identifier: Identifier
    settle: Settle
    new_upload: Callable[[], Upload]
    """Stages an empty upload; called on a thread; may raise OSError."""
    pulse: Pulse = field(default_factory=Still)
    """Needed where a face answers with Pending or Stream."""
    is_own_host: Callable[[bytes], bool] | None = None
    """Whether a Host field names this server; a request to another is answered 421. None: every name does."""
    limits: Limits = field(default_factory=Limits)
    observe: Callable[[Request, Response], None] | None = None
    """Told of each answer of a face, and of the edge in its place, just before the head is sent, to which it may add fields.

    Called on the loop's thread for every request: it must be very brief, and must not raise."""
    observe_relayed: Callable[[Request, Response], None] | None = None
    """The same for each answer that came from an application behind a Relay. Needs `observe`, for which the time is taken."""
    at_end: Callable[[], None] | None = None
    """Called on the loop's thread once all connections have ended."""
    threads: int = 16
    """How many faces and disk writes may be at work at once."""


def mounted(faces: Mapping[str, Face], star: Face | None = None, front: Face | None = None) -> Route:
    """A route by path prefix: `{"/dav": face}` takes `/dav` and all below.

    `star` answers `OPTIONS *` and `OPTIONS /`; `front` any other method of `/` itself.
    """
    table = [(prefix.rstrip("/"), prefix.rstrip("/") + "/", face) for prefix, face in faces.items()]

    def route(method: str, target: str) -> Face | None:
        for exact, below, face in table:
            if target.startswith(below) or target == exact:
                return face
        if method == "OPTIONS" and target in {"*", "/"}:
            return star
        return front if target == "/" else None

    return route
