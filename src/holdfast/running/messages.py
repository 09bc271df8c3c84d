"""What `holdfast run` and its watchdog say to each other.

Owns: the messages, and the link that carries them. Must not know: what either does about them.

The link is a SEQPACKET socket pair, so a message is whole or not there, and the death of one side is the other's end of file.
Neither side ever waits for the other: what cannot be sent now is kept, or is out of date when it could be.
"""

from __future__ import annotations

import enum
import os
import socket
from collections import deque
from typing import Final, TypeAlias

import msgspec

from holdfast.running.lease import Lease

__all__ = [
    "Cause",
    "Continued",
    "End",
    "Ended",
    "FromWatchdog",
    "Left",
    "Link",
    "Pass",
    "Renew",
    "Start",
    "Started",
    "Stopped",
    "ToWatchdog",
    "Unstartable",
    "link_pair",
]

_LARGEST: Final = 64 * 1024


class Cause(enum.StrEnum):
    """Why a command is over."""

    ITSELF = "itself"
    """It ended, and nothing of it runs any more."""
    TOLD = "told"
    """`holdfast run` said so: it learnt that the lock is lost."""
    DEADLINE = "deadline"
    """The lock was not refreshed in time."""
    ORPHANED = "orphaned"
    """`holdfast run` is no more."""
    LATE = "late"
    """It was never started: there was no time left."""
    UNGUARDED = "unguarded"
    """The watchdog is no more, or does not do its work."""


class Start(msgspec.Struct, frozen=True, tag=True):
    """Start the command, with these additions to its environment, and this descriptor's terminal if it is to have it."""

    environment: dict[str, str]
    lease: Lease
    terminal: int | None = None


class Renew(msgspec.Struct, frozen=True, tag=True):
    """It may run on until then. A lease may also become shorter."""

    lease: Lease


class Pass(msgspec.Struct, frozen=True, tag=True):
    """Pass this signal on."""

    signal: int


class End(msgspec.Struct, frozen=True, tag=True):
    """The lock is lost: end the command, with so many seconds between TERM and KILL."""

    grace: float


class Started(msgspec.Struct, frozen=True, tag=True):
    """The command runs, as this process, which leads a group of its own."""

    pid: int


class Unstartable(msgspec.Struct, frozen=True, tag=True):
    """It could not be executed."""

    error: int


class Stopped(msgspec.Struct, frozen=True, tag=True):
    """It was stopped by this signal."""

    signal: int


class Continued(msgspec.Struct, frozen=True, tag=True):
    """It goes on."""


class Left(msgspec.Struct, frozen=True, tag=True):
    """It has ended, and so many processes that it started run on."""

    count: int


class Ended(msgspec.Struct, frozen=True, tag=True):
    """Nothing of it runs any more, since `at`. `status` is that of wait(2), None where it is not known."""

    cause: Cause
    status: int | None
    at: float


ToWatchdog: TypeAlias = Start | Renew | Pass | End
"""What the watchdog is told."""

FromWatchdog: TypeAlias = Started | Unstartable | Stopped | Continued | Left | Ended
"""What the watchdog tells."""


class Link:
    """One end. Nothing here blocks."""

    def __init__(self, end: socket.socket) -> None:
        """Own `end`."""
        end.setblocking(False)
        self._end = end
        self._unsent: deque[bytes] = deque()
        self.is_cut = False
        """True once the other side is gone."""

    def fileno(self) -> int:
        """For a selector."""
        return self._end.fileno()

    @property
    def has_unsent(self) -> bool:
        """True while something waits to be sent."""
        return bool(self._unsent)

    def send(self, message: ToWatchdog | FromWatchdog, *, is_brief: bool = False) -> None:
        """Send, now or with the next `flush`; what `is_brief` is dropped rather than kept."""
        if is_brief and self._unsent:
            return
        self._unsent.append(msgspec.msgpack.encode(message))
        self.flush()
        if is_brief and self._unsent:
            self._unsent.pop()

    def flush(self) -> None:
        """Send what could not be sent before."""
        try:
            while self._unsent:
                self._end.send(self._unsent[0])
                self._unsent.popleft()
        except BlockingIOError:
            return
        except OSError:
            self.is_cut = True
            self._unsent.clear()

    def heard_by_watchdog(self) -> list[ToWatchdog]:
        """All that has come, for the watchdog."""
        return [_to_watchdog.decode(packet) for packet in self._packets()]

    def heard_from_watchdog(self) -> list[FromWatchdog]:
        """All that has come, from the watchdog."""
        return [_from_watchdog.decode(packet) for packet in self._packets()]

    def close(self) -> None:
        """Idempotent."""
        self._end.close()

    def _packets(self) -> list[bytes]:
        packets: list[bytes] = []
        try:
            while packet := self._end.recv(_LARGEST):
                packets.append(packet)
        except BlockingIOError:
            return packets
        except OSError:
            pass
        self.is_cut = True
        return packets


def link_pair() -> tuple[Link, Link]:
    """Two ends of one link."""
    # A packet keeps its borders, and unlike with datagrams the end of the other side is heard. macOS has no such pair.
    kind = socket.SOCK_SEQPACKET if os.uname().sysname == "Linux" else socket.SOCK_DGRAM
    left, right = socket.socketpair(socket.AF_UNIX, kind)
    return Link(left), Link(right)


_to_watchdog: Final = msgspec.msgpack.Decoder(ToWatchdog)
_from_watchdog: Final = msgspec.msgpack.Decoder(FromWatchdog)
