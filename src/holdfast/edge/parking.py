"""Requests that are parked: their answer is not known yet, and nothing but this object waits for it.

Owns: the life of a Pending, from its start to the one answer, or to the end of its client or server. Must not
know: what is waited for; how an answer is sent is the connection's. A parked request has no task and no timer.
"""

from __future__ import annotations

import enum
import logging
from functools import partial
from typing import Protocol

from holdfast.edge.heads import problem
from holdfast.edge.holding import HeldAnswer, Holder
from holdfast.edge.sending import close_body
from holdfast.wire.exchange import Pending, Request, Response

__all__ = ["Connection", "Parked"]

logger = logging.getLogger("holdfast.edge")


class Connection(Protocol):
    """What a parked request asks of the connection it is on."""

    @property
    def is_stopping(self) -> bool:
        """True once the server's graceful end has begun."""
        ...

    def send_held(self, answer: HeldAnswer, response: Response) -> None:
        """Write `response`, whose body is bytes, and go on."""
        ...

    def send_parked(self, parked: Parked, response: Response) -> None:
        """Send `response` by the rules of every answer; raises where it cannot be sent."""
        ...


class _Stage(enum.Enum):
    NEW = "what its face changed is not committed yet"
    PARKED = "it waits"
    OVER = "it is answered, or nobody waits any more"


class Parked(HeldAnswer):
    """One request that waits. It stands on its connection like an answer that is held: later requests queue behind it.

    Its Pending is started once what the face changed is committed, and is only called inside `Holder.run`.
    """

    __slots__ = ("_connection", "_holder", "_pending", "_stage")

    def __init__(
        self,
        connection: Connection,
        request: Request,
        response: Response,
        pending: Pending,
        holder: Holder,
        *,
        keep: bool,
        http10: bool,
    ) -> None:
        """`pending` is the body of `response`."""
        request.started = 0.0  # how long it waits tells nothing of how quick the server is
        super().__init__(connection, request, response, keep=keep, http10=http10)
        self._connection = connection
        self._pending = pending
        self._holder = holder
        self._stage = _Stage.NEW

    def begin(self, instead: Response | None) -> None:
        """What the face changed is committed; or it is undone, and `instead` is the answer."""
        if self._stage is not _Stage.NEW:
            return
        self._stage = _Stage.PARKED
        if instead is not None:
            self.answer(instead)
            self._abandon()  # what was undone may be of others, and its own committed before on another thread
            return
        try:
            self._holder.run(partial(self._pending.start, self.answer))
        except Exception as error:  # noqa: BLE001 - whatever it raises is answered
            self._fail(error)
        self._holder.nudge()
        if self._connection.is_stopping:
            self.hasten()

    def answer(self, response: Response) -> None:
        """The answer has come; what comes after the first, or for a client that is gone, is dropped."""
        if self._stage is _Stage.OVER:
            close_body(response.body)
            return
        self._stage = _Stage.OVER
        try:
            self._connection.send_parked(self, response)
        except Exception:
            logger.exception("the answer to a parked request could not be sent; 500 was sent in its place")
            close_body(response.body)
            self._connection.send_held(self, _failed())

    def lost(self) -> None:
        """The client is gone."""
        if self._stage is not _Stage.OVER:
            self._stage = _Stage.OVER
            self._abandon()

    def hasten(self) -> None:
        """The server stops: be answered now."""
        if self._stage is not _Stage.PARKED:
            return
        try:
            self._holder.run(self._pending.hasten)
        except Exception as error:  # noqa: BLE001 - whatever it raises is answered
            self._fail(error)
        if self._is_waiting():
            self.answer(problem(503, "The server stops; ask again.", [("retry-after", "1")]))
            self._abandon()

    def _is_waiting(self) -> bool:
        return self._stage is _Stage.PARKED

    def _fail(self, error: Exception) -> None:
        logger.error("%s raised; its request was answered 500", type(self._pending).__name__, exc_info=error)
        if self._is_waiting():
            self.answer(_failed())
            self._abandon()

    def _abandon(self) -> None:
        try:
            self._holder.run(self._pending.abandon)
        except Exception:
            logger.exception("%s could not be abandoned", type(self._pending).__name__)
        self._holder.nudge()


def _failed() -> Response:
    return problem(500, "The server failed to answer this request; its log says more.")
