"""One request that goes on to an application behind a guard, and its answer on the way back, neither held on the way.

Owns: the order of the steps (identify, ask the gate, connect, pass on, ask once more, answer), what is told to either side
when the other fails, and what may be tried again. Must not know: locks, parsing, which fields pass, other requests.

Theory of operation: a RelayCycle is a Cycle whose answer is a head that came from the application, with a body that is read
as it is sent. Request and answer pass at the same time, so an application may answer before it has the whole body, and a
100 that it sends is the one that the client gets. The last byte of a request (of its head, where it has no body; of a
chunked one, the chunk that ends it) waits for the gate, unless the gate was asked just before: so a lock that is granted
while an upload is on its way wins, and the application, which never got the whole request, must drop it (RFC 9112 section 8).

A request that asks to leave HTTP for a protocol that may pass is the last one on its connection. After the application's 101 both
connections are joined (`upgrading`), and the cycle lasts as long as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeVar

import h11
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import FlowControl

from holdfast.edge.cycle import Arrival, Cycle
from holdfast.edge.cycle import Connection as CycleConnection
from holdfast.edge.forwarding import (
    BadFieldsError,
    ForwardingRules,
    request_fields,
    response_fields,
)
from holdfast.edge.gates import Gate
from holdfast.edge.heads import BODILESS, HeadError, encode_interim, problem
from holdfast.edge.intake import ClientGoneError, RefusedError
from holdfast.edge.upgrading import WEBSOCKET, Inbox, Tunnel, Upgrades, asked_protocols, check_switch
from holdfast.edge.upstream import Exchange, Pool, UpstreamError, UpstreamSlowError
from holdfast.wire.exchange import Face, Request, Response

__all__ = ["Connection", "Failure", "Relay", "RelayCycle"]

T = TypeVar("T")

Failure = Literal["failed", "slow", "cut"]
"""The application could not be reached or was not understood; it took too long; it broke off an answer that had begun."""

Head = h11.Response | h11.InformationalResponse

logger = logging.getLogger("holdfast.guard")

_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PROPFIND", "REPORT", "SEARCH", "QUERY"})
"""Idempotent methods: what was sent on a connection that had ended may be sent again (RFC 9110 section 9.2.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """Where requests go on to. `gate` is asked about each; None lets all pass. `answer_s`: seconds for the answer's head,

    once the request is sent, and for taking any of it. An answer may then take as long as its client stays. `upgrades` are
    the protocols for which a connection may leave HTTP. With `own` that face answers what the gate lets pass, and nothing
    goes on. `on_failure` is told of each failure of the application's. `fresh_s`: seconds for which a gate's word counts for a
    body that was all there when it was asked; it counts for nothing once a connection had to be made.
    """

    pool: Pool
    rules: ForwardingRules
    gate: Gate | None
    answer_s: float = 60.0
    fresh_s: float = 0.0
    upgrades: Upgrades = field(default_factory=Upgrades)
    own: Face | None = None
    on_failure: Callable[[Failure], None] | None = None


class Connection(CycleConnection, Protocol):
    """What passing on asks of the connection it is on, beside what any cycle does."""

    flow: FlowControl

    def relayed_head(
        self,
        request: Request,
        response: Response,
        length: int | None,
        *,
        chunked: bool,
        keep: bool,
        http10: bool,
        switches: bool = False,
    ) -> bytes:
        """The head of an answer of the application's, with its own Date and Server; raises HeadError."""
        ...


class RelayCycle(Cycle):
    """Runs as one task, and a second one while a body is on its way."""

    connection: Connection

    def __init__(
        self,
        connection: Connection,
        arrival: Arrival,
        request: Request,
        relay: Relay,
        fields: list[tuple[bytes, bytes]],
    ) -> None:
        """Pass on `request`, which came with `fields` (lower-case names), in this order."""
        super().__init__(connection, arrival, request, None)
        self.intake.gather(0)  # pass on what there is
        self._relay = relay
        self._fields = fields
        self._task: asyncio.Task[None] | None = None
        self._exchange: Exchange | None = None
        self._pump: asyncio.Task[None] | None = None
        self._asked_at = 0.0
        self._asked_whole = False
        self._length: int | None = None
        self._protocols: list[str] = []
        self._tunnel: Tunnel | None = None
        self.inbox: Inbox | None = None
        """Where all goes that comes behind this request, if it asks to leave HTTP."""
        if arrival.length == 0 and not arrival.http10:
            asked = asked_protocols(request, fields)
            self._protocols = [one for one in asked if one in relay.upgrades.protocols]
        if self._protocols:
            self.inbox = Inbox(connection.flow, connection.loop)
            self.keep_alive = False  # where it is refused, nobody knows whether what follows is HTTP

    async def run_asgi(self, app: ASGI3Application) -> None:
        """Pass on, and answer."""
        self._task = asyncio.current_task()
        self.connection.begin_standing(self)
        try:
            await super().run_asgi(app)
        finally:
            self._end()

    def lost(self) -> None:
        """The client is gone: let the application know."""
        if self._tunnel is not None:
            self._tunnel.lose()
        elif self._task is not None:
            self._task.cancel()

    def hasten(self) -> None:
        """The server stops: what is under way may end in the time that there is; joined connections have no end of their own."""
        if self._tunnel is not None:
            self._tunnel.stop()

    def _end(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
        if self._exchange is not None:
            self._exchange.end()
        if self.response_complete or self.connection.transport.is_closing():
            self.connection.end_standing(self)

    # The way there

    async def _respond(self) -> Response:
        request = self.request
        try:
            self._refuse_unpassable()
            request.principal = await self._identify()
            await self._ask()
            relay = self._relay
            if relay.own is not None:
                return await self._call(relay.own)
            length = self.arrival.length
            authority = relay.pool.upstream.authority
            fields = request_fields(request, self._fields, relay.rules, length=length, authority=authority)
            if self._protocols:
                fields += [(b"connection", b"upgrade"), (b"upgrade", ", ".join(self._protocols).encode("latin-1"))]
            return await self._forward(fields, length)
        except BadFieldsError as error:
            self.keep_alive = False  # what follows on this connection may be a part of what was not understood
            return problem(error.status, str(error))
        except UpstreamSlowError as error:
            self._log(error)
            return problem(504, "The application did not answer in time.")
        except UpstreamError as error:
            self._log(error)
            return problem(502, "The application cannot be reached, or gave no proper answer.")

    def _refuse_unpassable(self) -> None:
        """Raise BadFieldsError for what is no request for an application behind a proxy."""
        request = self.request
        if request.method == "TRACE":
            raise BadFieldsError(405, "TRACE is not passed on.")
        if self.arrival.http10 and b"transfer-encoding" in request.headers:
            raise BadFieldsError(400, "HTTP/1.0 has no Transfer-Encoding.")
        if WEBSOCKET not in self._relay.upgrades.protocols and WEBSOCKET in asked_protocols(request, self._fields):
            raise BadFieldsError(501, "WebSockets are not passed on here: nobody could tell what is changed by them.")

    async def _ask(self) -> None:
        """Raise RefusedError where the gate refuses."""
        gate = self._relay.gate
        if gate is None:
            return
        loop = self.connection.loop
        whole = self.intake.complete
        self.connection.runtime.holder(loop).flush()  # what others were told must be seen
        refusal = await gate.ask(self.request)
        if refusal is not None:
            raise RefusedError(refusal)
        self._asked_at, self._asked_whole = loop.time(), whole

    async def _ask_again(self, exchange: Exchange) -> None:
        """Before the last byte: a lock may have been granted while the others were on their way, or while we connected."""
        age = self.connection.loop.time() - self._asked_at
        if not self._asked_whole or not exchange.was_kept or age >= self._relay.fresh_s:
            await self._ask()

    async def _forward(self, fields: list[tuple[bytes, bytes]], length: int | None) -> Response:
        repeatable = self.request.method in _REPEATABLE and length == 0
        try:
            return await self._forward_once(fields, length, may_be_old=repeatable)
        except UpstreamError as error:
            if not (error.is_stale and repeatable):
                raise
        return await self._forward_once(fields, length, may_be_old=True, may_be_kept=False)

    async def _forward_once(
        self, fields: list[tuple[bytes, bytes]], length: int | None, *, may_be_old: bool, may_be_kept: bool = True
    ) -> Response:
        relay = self._relay
        self._exchange = exchange = await relay.pool.open(may_be_old=may_be_old, may_be_kept=may_be_kept)
        try:
            if length == 0:
                if not exchange.was_kept:  # else nothing has come between since the gate was asked
                    await self._ask()
                await self._send_head(exchange, fields, ends=True)
                head = await self._timely(self._final_head(exchange))
            else:
                await self._send_head(exchange, fields, ends=False)
                self._pump = asyncio.create_task(self._send_body(exchange, length))
                self._pump.add_done_callback(_look)
                head = await self._head_beside(exchange, self._pump)
            return self._answer_of(head)
        except BaseException:
            self._exchange = None
            await self._stop_pump()
            exchange.end()
            raise

    async def _send_head(self, exchange: Exchange, fields: list[tuple[bytes, bytes]], *, ends: bool) -> None:
        request = self.request
        target = f"{request.target}?{request.query}" if request.query else request.target
        try:
            await exchange.send_head(request.method.encode("ascii"), target.encode("ascii"), fields, ends=ends)
        except ValueError as error:
            detail = "The request has a field or a target that no application could read."
            raise BadFieldsError(400, detail) from error

    async def _send_body(self, exchange: Exchange, length: int | None) -> None:
        """Pass on what comes, and the end of it once the gate was asked again. Raises as `Intake.ready`, RefusedError, UpstreamError."""
        intake = self.intake
        sent = 0
        while True:
            await intake.ready()
            is_last = intake.complete
            data = bytes(intake.take())
            sent += len(data)
            if is_last or sent == length:
                try:
                    await self._ask_again(exchange)
                except RefusedError:
                    if self.response_started:  # it can be told nothing else: cut both off
                        exchange.end()
                    raise
                await self._timely(exchange.send_end(data))
                return
            await self._timely(exchange.send_data(data))

    async def _head_beside(self, exchange: Exchange, pump: asyncio.Task[None]) -> Head:
        """The answer's head, which may come before the body is sent. Where sending fails, an answer may have come all the same."""
        coming = asyncio.create_task(self._final_head(exchange))
        try:
            await asyncio.wait({coming, pump}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                with contextlib.suppress(UpstreamError):
                    pump.result()
            return await self._timely(coming)
        finally:
            coming.cancel()

    async def _final_head(self, exchange: Exchange) -> Head:
        """The final head, or a 101; what comes before it is passed on (RFC 9110 section 15.2). Raises UpstreamError."""
        while True:
            head = await exchange.head()
            if head.status_code == 101:
                return head
            if isinstance(head, h11.Response):
                if not 200 <= head.status_code <= 599:
                    msg = f"it answered with the status {head.status_code}"
                    raise UpstreamError(msg)
                return head
            if head.status_code == 100:
                self._continue()
            elif not self.arrival.http10:
                fields, _ = response_fields(head.headers.raw_items(), self._relay.rules)
                with contextlib.suppress(HeadError):
                    await self.connection.outlet.write(encode_interim(head.status_code, fields))

    async def _timely(self, work: Awaitable[T]) -> T:
        """What `work` gives, where the application lets it end in time. Raises UpstreamSlowError."""
        try:
            async with asyncio.timeout(self._relay.answer_s):
                return await work
        except TimeoutError as error:
            msg = f"nothing came of it in {self._relay.answer_s:g} s"
            raise UpstreamSlowError(msg) from error

    async def _stop_pump(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])
            self._pump = None

    # The way back

    def _answer_of(self, head: Head) -> Response:
        """Raises UpstreamError for a 101 that is none."""
        raw = head.headers.raw_items()
        fields, self._length = response_fields(raw, self._relay.rules)
        if head.status_code == 101:
            fields.append(("upgrade", check_switch(self.request, self._protocols, raw)))
        return Response(head.status_code, fields)

    async def _send(self, response: Response) -> bool:
        """True when the connection may stay open after it."""
        exchange = self._exchange
        if exchange is None:  # a refusal, or a failure
            return await super()._send(response)
        if response.status == 101:
            await self._leave_http(exchange, response)
            return False
        http10 = self.arrival.http10
        bodiless = self.request.method == "HEAD" or response.status in BODILESS
        length = self._length
        chunked = length is None and not bodiless and not http10
        ends_clearly = bodiless or length is not None or chunked
        keep = self.keep_alive and ends_clearly and self._rest_is_small()
        head = self.connection.relayed_head(self.request, response, length, chunked=chunked, keep=keep, http10=http10)
        self._starts()
        outlet = self.connection.outlet
        await outlet.write(head)
        try:
            async with aclosing(exchange.body()) as body:
                async for data in body:
                    await outlet.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
        except UpstreamError as error:
            self._log(error)
            await outlet.reset()  # a close would look like the end where nothing else tells it
            raise ClientGoneError from error
        if chunked:
            await outlet.write(b"0\r\n\r\n")
        if not self.intake.complete:
            self._leave_rest()
        return keep

    async def _leave_http(self, exchange: Exchange, response: Response) -> None:
        """Join both connections until they end. Raises HeadError, with nothing sent, and ClientGoneError."""
        assert self.inbox is not None
        head = self.connection.relayed_head(
            self.request, response, None, chunked=False, keep=False, http10=False, switches=True
        )
        self._starts()
        self._tunnel = tunnel = Tunnel(self.connection, self.inbox, exchange.leave_http(), self._relay.upgrades)
        if self.connection.is_stopping:
            tunnel.stop()
        await tunnel.run(head)

    def _has_unread(self) -> bool:
        return super()._has_unread() or (self.inbox is not None and not self.inbox.is_open)

    def _rest_is_small(self) -> bool:
        """True where what is still to come of the body may be read and dropped, if the application does not take it."""
        length = self.arrival.length
        if self.intake.complete:
            return True
        if length is None or not self._continued:
            return False
        return length - self.intake.total <= self.connection.runtime.config.limits.memory_body_bytes

    def _log(self, error: UpstreamError) -> None:
        request = self.request
        if self._relay.on_failure is not None:
            slow = isinstance(error, UpstreamSlowError)
            self._relay.on_failure("slow" if slow else "cut" if self.response_started else "failed")
        logger.warning("%s %s: %s: %s", request.method, request.target, self._relay.pool.upstream, error)


def _look(task: asyncio.Task[None]) -> None:
    """What a pump failed with was told by the answer, or came too late to matter."""
    if not task.cancelled():
        task.exception()
