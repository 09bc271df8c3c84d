"""Answers that share a commit: what one turn of the loop changes is committed once, before it is told.

Owns: when the changes of brief faces are committed, and the order commit, sync, answer. Must not know: what
is committed; how an answer is written is the connection's.

Theory of operation: the hot path calls faces through `call`, inside which the store may hold changes back. The first
that does has a flush scheduled, which runs when the loop has seen to all that was readable; an answer
that awaits a sync waits for it as a HeldAnswer, other answers go out at once. The store's turn to write is held from
the first change to the flush: so nothing in between may wait for a thread, and a flush comes early after
`_MOST_CALLS` calls, for the sake of those threads and other processes that wait for the turn. What is parked is
started, hastened and given up through `run`, under the same rules; each flush tells the heart that beats for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import ClassVar, Final, Protocol, TypeVar

from holdfast.edge.heads import problem
from holdfast.edge.heart import Heart
from holdfast.edge.settings import Pulse, Settle
from holdfast.edge.settling import Syncer
from holdfast.store.protocol import StoreFullError
from holdfast.wire.exchange import Face, Request, Response

__all__ = ["HeldAnswer", "Holder", "Unheard", "unkept"]

logger = logging.getLogger("holdfast.edge")

T = TypeVar("T")

_MOST_CALLS: Final = 64
"""Calls of faces between the first held change and the flush, at most: some milliseconds."""


_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PROPFIND"})
"""Methods that change nothing (RFC 9110 section 9.2.1, RFC 4918 section 9.1), so there is nothing to hold."""


class Unheard:
    """In the place of the event that tells a cycle of its client: a held answer is not told."""

    def set(self) -> None:
        """Tell nobody."""


class Connection(Protocol):
    """What a held answer asks of the connection it is on."""

    def send_held(self, answer: HeldAnswer, response: Response) -> None:
        """Write `response` in place of the held one, unless the client is gone, and go on."""
        ...


class HeldAnswer:
    """One answer that waits. It stands on its connection where a cycle would, so that later requests queue behind it."""

    __slots__ = ("connection", "disconnected", "http10", "keep_alive", "request", "response", "response_complete")

    message_event: ClassVar = Unheard()

    def __init__(
        self, connection: Connection, request: Request, response: Response, *, keep: bool, http10: bool
    ) -> None:
        """`keep` and `http10` are for the Connection field."""
        self.connection = connection
        self.request = request
        self.response = response
        self.keep_alive = keep
        self.http10 = http10
        self.disconnected = False
        self.response_complete = False


class Holder:
    """One per server and loop; used from the loop's thread only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, settle: Settle, syncer: Syncer, pulse: Pulse) -> None:
        """Hold nothing yet."""
        self._loop = loop
        self._settle = settle
        self._syncer = syncer
        self.nudge = Heart(loop, pulse, self).nudge
        self._answers: list[HeldAnswer] = []
        self._begins: list[Callable[[Response | None], None]] = []
        self._calls = 0
        self._is_scheduled = False

    def call(self, face: Face, request: Request) -> Response:
        """The answer of a brief face, whose changes may be held."""
        if self._calls:
            self._calls += 1
            if self._calls > _MOST_CALLS:
                self.flush()
        if request.method in _SAFE:
            return face(request)
        try:
            with self._settle.hold():
                return face(request)
        finally:
            if not self._calls:
                if self._settle.has_held:
                    self._schedule()
                else:
                    self.nudge()  # it may have been committed at once

    def run(self, work: Callable[[], T]) -> T:
        """Do what no face does, whose changes may be held too. Not to be called inside itself."""
        if self._calls:
            self._calls += 1
            if self._calls > _MOST_CALLS:
                self.flush()
        try:
            with self._settle.hold():
                return work()
        finally:
            if not self._calls and self._settle.has_held:
                self._schedule()

    def after_commit(self, begin: Callable[[Response | None], None]) -> None:
        """Call `begin` once what is held is committed, at once where nothing is; where it is undone, with the answer to give."""
        if self._settle.has_held:
            self._begins.append(begin)
        else:
            begin(None)

    def must_wait(self) -> bool:
        """True when an answer that promises durability must not be sent yet."""
        return self._settle.has_held or self._syncer.is_needed()

    def add(self, answer: HeldAnswer) -> None:
        """Send it after the next flush, and a sync where that is needed."""
        self._answers.append(answer)
        if not self._calls:
            self._schedule()

    def _schedule(self) -> None:
        self._calls = 1
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._is_scheduled = False
        self.flush()

    def flush(self) -> bool:
        """Commit now and send, or have synced, what waits for it; False when nothing of it was kept."""
        answers, self._answers = self._answers, []
        calls, self._calls = self._calls, 0
        try:
            self._settle.commit_held()
        except StoreFullError as error:
            logger.error("%s; requests were answered 507", error)  # noqa: TRY400 - where it was raised tells nothing more
            self._undo(answers, no_room())
            return False
        except Exception:
            logger.exception("what was changed could not be committed; its requests were answered 503")
            self._undo(answers, unkept())
            return False
        if answers and self._syncer.is_needed():
            self._syncer.call_after(partial(_settled, answers))
        else:
            _send(answers)
        if self._begins:
            self._begin()
        if calls:
            self.nudge()
        return True

    def _begin(self, instead: Response | None = None) -> None:
        begins, self._begins = self._begins, []
        for begin in begins:
            try:
                begin(instead)
            except Exception:
                logger.exception("a request could not be parked")  # the others still can

    def _undo(self, answers: list[HeldAnswer], instead: Response) -> None:
        _send(answers, instead)
        self._begin(instead)


def no_room() -> Response:
    """The answer to a request whose changes were undone because the disk is full."""
    return problem(507, "The disk that keeps the server's locks and properties is full; nothing was changed.")


def unkept() -> Response:
    """The answer to a request whose changes were undone."""
    return problem(503, "The server could not keep this change; nothing was changed.", [("retry-after", "1")])


def _settled(answers: list[HeldAnswer], error: BaseException | None) -> None:
    if error is None:
        _send(answers)
    else:
        logger.error("answers could not be sent; 500 was sent in their place", exc_info=error)
        _send(answers, problem(500, "The server failed to answer this request; its log says more."))


def _send(answers: list[HeldAnswer], instead: Response | None = None) -> None:
    for answer in answers:
        try:
            answer.connection.send_held(answer, instead or answer.response)
        except Exception:
            logger.exception("an answer could not be sent")  # the others still can
