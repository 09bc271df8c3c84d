"""A session: one run against one server, as far as all of its probes share it.

Owns: who the principals are, the limits in time, the order in which requests go out (one at a time, but for a race), and all that was
refused on the way. Must not know: any probe, or WebDAV beyond a reply.
"""

from __future__ import annotations

import base64
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec

from holdfast.inspector.exchange import FieldLine, SentRequest
from holdfast.inspector.probing.probe import UndecidedError
from holdfast.inspector.probing.reply import Reply
from holdfast.inspector.probing.wire import Midway, Transport

__all__ = ["NOBODY", "OutOfTimeError", "Pace", "Principal", "RealPace", "Session", "StoppedError"]

T = TypeVar("T")

_PATIENCE_S: Final = 10.0
"""For how long one answer is waited for."""
_AGENT: Final = "holdfast-probe"


class OutOfTimeError(UndecidedError):
    """The probe, or the whole run, has used up its time."""


class StoppedError(UndecidedError):
    """The run was stopped."""


class Principal(msgspec.Struct, frozen=True):
    """Somebody with a name and a password, sent as Basic credentials; without a name nobody in particular."""

    name: str = ""
    password: str = ""

    def __repr__(self) -> str:
        """Without the password."""
        return f"Principal({self.name!r})"

    @property
    def fields(self) -> tuple[FieldLine, ...]:
        """The credentials as a field line; none without a name."""
        if not self.name:
            return ()
        text = f"{self.name}:{self.password}".encode()
        return (("Authorization", "Basic " + base64.b64encode(text).decode()),)


NOBODY: Final = Principal()


class Pace(Protocol):
    """Where time comes from: a monotonic clock in seconds, and a wait that can be ended early."""

    @property
    def is_shared(self) -> bool:
        """True where several may wait at the same time."""
        ...

    def now(self) -> float:
        """Seconds since some moment."""
        ...

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Let so many seconds pass, fewer where `stop` is set."""
        ...


class RealPace:
    """Time as it passes."""

    is_shared = True

    def now(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Wait."""
        stop.wait(seconds)


class Session:
    """One run against the server of `url`; `limit_s` seconds in all."""

    def __init__(self, url: str, transport: Transport, pace: Pace, limit_s: float) -> None:
        """Send nothing yet."""
        parts = urlsplit(url)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.base = parts.path.rstrip("/") + "/"
        self.transport = transport
        self.pace = pace
        self.until = pace.now() + limit_s
        self.stopping = threading.Event()
        self.refusals: list[Reply] = []
        self._turn = threading.RLock()
        self._here = threading.local()

    def send(
        self,
        principal: Principal,
        request: SentRequest,
        until: float,
        midway: Midway | None = None,
        *,
        is_cleaning: bool = False,
    ) -> Reply:
        """Send as `principal`, at its turn. Raises NoAnswerError, OutOfTimeError, StoppedError."""
        if getattr(self._here, "is_racing", False):
            return self._send(principal, request, until, midway, is_cleaning=is_cleaning)
        with self._turn:
            return self._send(principal, request, until, midway, is_cleaning=is_cleaning)

    def race(self, width: int, act: Callable[[int], T], rounds: int, judge: Callable[[Sequence[T]], bool]) -> int:
        """Run `act(0) ... act(width - 1)` at the same moment, `rounds` times, while nobody else sends anything.

        `judge` gets what they returned after each round, and says whether to go on. Returns the number of rounds.
        """
        barrier = threading.Barrier(width)

        def together(number: int) -> T:
            self._here.is_racing = True
            barrier.wait(_PATIENCE_S)
            return act(number)

        with self._turn, ThreadPoolExecutor(width, "holdfast-race") as pool:
            try:
                for done in range(rounds):
                    if not judge([future.result() for future in [pool.submit(together, n) for n in range(width)]]):
                        return done + 1
            finally:
                wait([pool.submit(self._let_go, barrier) for _ in range(width)])
        return rounds

    def _let_go(self, barrier: threading.Barrier) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            barrier.wait(_PATIENCE_S)  # so that each thread of the pool gets one of these
        self.transport.release()

    def _send(
        self, principal: Principal, request: SentRequest, until: float, midway: Midway | None, *, is_cleaning: bool
    ) -> Reply:
        if not is_cleaning:
            if self.stopping.is_set():
                raise StoppedError("the run was stopped")
            until = min(until, self.until)
        left = until - self.pace.now()
        if left <= 0:
            raise OutOfTimeError("its time was used up")
        fields = (("User-Agent", _AGENT), *principal.fields, *request.fields)
        signed = msgspec.structs.replace(request, url=self.origin + request.url, fields=fields)
        reply = Reply(self.transport.exchange(signed, min(left, _PATIENCE_S), midway), principal.name)
        if reply.status == 423 or 423 in reply.statuses.values():
            self.refusals.append(reply)
        return reply
