"""Script: a body that says what goes over the wire, in which order, and when; faults included.

Owns: the steps, and the rules of their order, so that whoever performs a script meets no contradiction.
Must not know: sockets, or why somebody wants an answer to be late, cut off or wrong.
"""

from __future__ import annotations

import enum
import math
from typing import Final

import msgspec

__all__ = [
    "Cut",
    "Data",
    "End",
    "Framing",
    "Head",
    "Interim",
    "MalformedChunk",
    "Script",
    "Step",
    "Wait",
]


class Framing(enum.Enum):
    """How the client learns where the content ends (RFC 9112 section 6.3)."""

    LENGTH = "a Content-Length: the size of all Data of the script"
    CHUNKED = "chunked transfer coding; until the connection closes where the client speaks HTTP/1.0"
    CLOSE = "neither field: until the connection closes"


class Wait(msgspec.Struct, frozen=True):
    """Do nothing for `seconds`; over at once when the client goes or the server stops."""

    seconds: float


class Interim(msgspec.Struct, frozen=True):
    """An interim answer, before the head: 100, or 102 to 199 (RFC 9110 section 15.2). Not sent to HTTP/1.0."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()


class Head(msgspec.Struct, frozen=True):
    """Send the answer's head now. An int is the Content-Length to state, true or not; where untrue, the connection closes."""

    framing: Framing | int = Framing.LENGTH


class Data(msgspec.Struct, frozen=True):
    """Send these bytes of the content now; one chunk where the content is chunked."""

    data: bytes


class MalformedChunk(msgspec.Struct, frozen=True):
    """After Head(Framing.CHUNKED): a chunk whose size line is no number, then `data`; the connection closes at the end."""

    data: bytes = b""


class End(msgspec.Struct, frozen=True):
    """The answer is over; the connection is kept for the next request where the client can tell that it is over."""


class Cut(msgspec.Struct, frozen=True):
    """Reset the connection, with what was sent before on its way (a TCP RST)."""


Step = Wait | Interim | Head | Data | MalformedChunk | End | Cut

_SWITCHING_PROTOCOLS: Final = 101


class Script(msgspec.Struct, frozen=True):
    """What goes over the wire, step by step.

    In this order: interim answers, one head, data, an end; waits anywhere. The last step, and only that, is End
    or Cut; a Cut may come before the head. Anything else raises ValueError.

    Status and headers of the head are those of the Response. Its status is 200 to 599, or 101: then the
    request must have asked for the protocol that the Response's Upgrade field names (RFC 9110 section 7.8), the
    data are in that protocol, and the connection closes at the end. Where an answer has no content (HEAD, 204,
    205, 304), the data are not sent, and the waits are kept.
    """

    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        """Check the order and the numbers."""
        if not self.steps or not isinstance(self.steps[-1], End | Cut):
            msg = "a script ends with End or Cut"
            raise ValueError(msg)
        head: Head | None = None
        for step in self.steps[:-1]:
            _check(step, head)
            head = step if isinstance(step, Head) else head
        if isinstance(self.steps[-1], End) and head is None:
            msg = "an answer that ends has a head"
            raise ValueError(msg)

    @property
    def length(self) -> int:
        """The bytes of all Data."""
        return sum(len(step.data) for step in self.steps if isinstance(step, Data))


def _check(step: Step, head: Head | None) -> None:
    problem = ""
    match step:
        case Wait(seconds=seconds) if not (math.isfinite(seconds) and seconds >= 0):
            problem = "a wait is a number of seconds, 0 or more"
        case Interim() if head is not None:
            problem = "an interim answer comes before the head"
        case Interim(status=status) if status == _SWITCHING_PROTOCOLS or not 100 <= status <= 199:
            problem = "an interim answer's status is 100, or 102 to 199"
        case Head() if head is not None:
            problem = "there is one head"
        case Head(framing=int(length)) if length < 0:
            problem = "a length is 0 or more"
        case Data() | MalformedChunk() if head is None:
            problem = "data come after the head"
        case MalformedChunk() if head is not None and head.framing is not Framing.CHUNKED:
            problem = "only what is chunked has malformed chunks"
        case End() | Cut():
            problem = "nothing comes after the end"
        case _:
            pass
    if problem:
        raise ValueError(problem)
