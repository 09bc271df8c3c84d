"""One connection: HTTP/1.1 in, requests to faces, answers out.

Owns: parsing (by httptools, under uvicorn's protocol class), the choice between the hot path, the
cold path and the ASGI application, and the limits on what a head may be. Must not know: what faces do,
locks, WebDAV; time and endings are `connection`'s.

Theory of operation: a request whose body is small, and before which nothing is in flight, is
collected and, when its face calls it brief or refuses it, answered inside the parser's last callback with one
write: no task, no ASGI dicts, no timer. Where it changed something, that write comes when what the
loop brought in one turn has been committed together (see `holding`). Every other request for a face becomes a Cycle, which runs as
a task. What no face takes goes to uvicorn's own machinery; only for it are ASGI dicts built. Answers keep
the order of requests: behind an unfinished one all others queue in uvicorn's `pipeline`.
"""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import Any, Final, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from holdfast.edge.connection import EdgeConnection, Mode, Phase, connection_field
from holdfast.edge.cycle import Arrival, Cycle, failure_of
from holdfast.edge.heads import BODILESS, HeadError, body_length, encode_head, problem
from holdfast.edge.holding import HeldAnswer, unkept
from holdfast.edge.methods import MOST_BYTES, PARSED, new_parser, open_request, refused_request
from holdfast.edge.parking import Parked
from holdfast.edge.relaying import Relay, RelayCycle
from holdfast.edge.runtime import Runtime
from holdfast.edge.sending import SMALL_BYTES, TruncatedError, close_body, read_small
from holdfast.edge.settings import Slow
from holdfast.edge.target import BadRequestError, body_length_of, check_host, split_target
from holdfast.wire.exchange import Face, Headers, Pending, Request, Response

__all__ = ["HoldfastProtocol", "protocol_class"]

logger = logging.getLogger("holdfast.edge")

Fields = list[tuple[bytes, bytes]]

# Short names: these are looked up several times per request.
_IDLE, _HEAD, _BODY = Phase.IDLE, Phase.HEAD, Phase.BODY
_HOT, _COLD, _ASGI, _IGNORED = Mode.HOT, Mode.COLD, Mode.ASGI, Mode.IGNORED


class _Nowhere(list[tuple[bytes, bytes]]):
    """Where trailers go: they are read and forgotten (RFC 9110 section 6.5.1)."""

    def append(self, _field: tuple[bytes, bytes], /) -> None:
        """Forget it."""


_NOWHERE: Final = _Nowhere()


class HoldfastProtocol(EdgeConnection):
    """Give uvicorn a subclass made by `protocol_class`, which sets `runtime`."""

    parser: httptools.HttpRequestParser | None

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """As uvicorn calls it."""
        super().__init__(config, server_state, app_state, _loop)
        self._route = self.runtime.config.route
        self._identify_now = self.runtime.config.identifier.identify_now
        self._holder = self.runtime.holder(self.loop)
        self._is_own_host = self.runtime.config.is_own_host
        self._head_bytes = self._limits.head_bytes
        self._head_fields = self._limits.head_fields
        self._memory_bytes = self._limits.memory_body_bytes
        self._unparsed = 0
        self._may_be_large = False
        self._without_upgrade = b""
        self._upgrade: Fields = []
        self._opening = b""
        self._method = ""
        self._head_came = False
        self._body_came = False
        self._parts: list[bytes] = []
        # What is known of the request at hand, on the hot path.
        self._request: Request
        self._face: Face
        self._length = 0
        self._http10 = False

    # Bytes

    def data_received(self, data: bytes) -> None:
        """Parse; the callbacks below do the rest."""
        parser = self.parser
        if self._deaf or parser is None:
            self._drain(len(data))
            return
        if self._inbox is not None:
            self._inbox.feed(data)
            return
        before = self._phase
        is_start = before is _IDLE or self._opening != b""
        if is_start:
            space = data.find(b" ", 0, MOST_BYTES)
            if self._opening or space == -1 or data[:space] not in PARSED:
                data = self._open(data)
                if not data:
                    return
        self._may_be_large = len(data) > self._head_bytes or before is not _IDLE
        self._head_came = self._body_came = False
        waiting: list[bytes | memoryview] = [data]
        while waiting:
            piece = waiting.pop()
            if self._inbox is not None:
                self._inbox.feed(piece)
                continue
            try:
                parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                is_start = False
                again = self._without(upgrade, piece)
                if again:
                    self.parser = parser = new_parser(
                        self
                    )  # this one reads nothing behind a request that ends its connection
                    waiting += again
            except httptools.HttpParserError as error:
                opened = self._read_again(error, cast("bytes", piece)) if is_start else None
                if opened is None:
                    self._bad_bytes(error)
                    return
                self.parser = parser = new_parser(self)
                waiting += opened
        if self._phase is not _IDLE:
            self._count_unparsed(len(data), before)

    def _open(self, data: bytes) -> bytes:
        """What the parser is to see of `data`, with which a request begins, or goes on within its method."""
        data, kept, self._method = open_request(self._opening + data)
        if kept and not self._opening:
            self._phase = _HEAD
            self._since = self._sweep.now
        self._opening = kept
        return data

    def _read_again(self, error: httptools.HttpParserError, piece: bytes) -> list[bytes] | None:
        """What is left to be parsed of `piece`, which begins between two requests; None where the error stands."""
        if self._deaf or not isinstance(error, httptools.HttpParserInvalidMethodError):
            return None
        opening = refused_request(piece)
        if opening is None:
            return None
        self._opening, self._method = opening.kept, opening.method
        return [opening.parsed] if opening.parsed else []

    def _without(self, upgrade: httptools.HttpParserUpgrade, piece: bytes | memoryview) -> list[bytes | memoryview]:
        """What is to be parsed, last part first, as if no upgrade were asked for (RFC 9110 7.8 lets a server ignore it).

        The parser takes what follows the head for another protocol, the body included, so it gets the
        head once more, without the Upgrade field, which only the face sees.
        """
        head, self._without_upgrade = self._without_upgrade, b""
        rest = memoryview(piece)[cast("int", upgrade.args[0]) :]
        if not head:
            return []
        return [rest, head] if rest else [head]

    def _bad_bytes(self, error: httptools.HttpParserError) -> None:
        if self._deaf:
            return  # it is behind what was refused already
        cause = error.__context__
        if isinstance(error, httptools.HttpParserCallbackError) and cause is not None:
            logger.error("a parser callback failed", exc_info=cause)
            self._refuse(problem(500, "The server failed to read this request; its log says more."))
        elif isinstance(error, httptools.HttpParserInvalidMethodError):
            self._refuse(problem(501, "This is no method that can be read here."))
        else:
            self._refuse(problem(400, "This is not a well-formed HTTP/1.1 request."))

    def _count_unparsed(self, size: int, before: Phase) -> None:
        """Bound what the parser holds back: an unfinished head, chunk extensions, trailers."""
        if self._phase is _HEAD:
            if not self._head_came and before is not _BODY:
                self._unparsed += size
            detail = "The request line and fields are too large."
        elif self._body_came or self._mode is _HOT:
            self._unparsed = 0
            return
        else:
            self._unparsed += size
            detail = "The chunk extensions or trailers are too large."
        if self._unparsed > self._limits.head_bytes and not self._deaf:
            self._refuse(problem(431, detail))

    # Parser callbacks

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self.url = b""
        self.headers = []
        self._unparsed = 0
        if self._phase is not _HEAD:  # else its first bytes came before, see `_open`
            self._phase = _HEAD
            self._since = self._sweep.now

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is here: choose who gets the request."""
        fields, self.headers = self.headers, _NOWHERE
        method, self._method = self._method, ""
        self._phase = _BODY
        self._head_came = True
        self._since = self._sweep.now
        self._window = 0
        if self._deaf or self._last or self.transport.is_closing():
            self._mode = _IGNORED
            return
        try:
            self._begin(fields, method)
        except BadRequestError as error:
            self._mode = _IGNORED
            self._refuse(problem(error.status, str(error)))

    def _begin(self, fields: Fields, method: str) -> None:
        url = self.url
        if len(fields) > self._head_fields:
            raise BadRequestError(431, f"There are more than {self._head_fields} fields.")
        if self._may_be_large and len(url) + sum([len(name) + len(value) for name, value in fields]) > self._head_bytes:
            raise BadRequestError(431, "The request line and fields are too large.")
        parser = self.parser
        assert parser is not None
        parsed = parser.get_method()
        method = method or parsed.decode("ascii")
        target, query = split_target(method, url)
        if self._upgrade:
            fields += self._upgrade
            self._upgrade = []
        headers = Headers(fields)
        known = headers.fields
        if b"upgrade" in known and parser.should_upgrade():
            lines = [b"%b: %b\r\n" % field for field in fields if field[0] != b"upgrade"]
            version = parser.get_http_version().encode("ascii")
            self._without_upgrade = b"%b %b HTTP/%b\r\n%b\r\n" % (parsed, url, version, b"".join(lines))
            self._method = method
            self._upgrade = [field for field in fields if field[0] == b"upgrade"]
            self._mode = _IGNORED
            return
        keep = parser.should_keep_alive() and not self._stopping
        # Only HTTP/1.1 is kept open without being asked to, and asking the parser for a version is slow.
        http10 = (not keep or b"connection" in known) and parser.get_http_version() == "1.0"
        if not http10:
            check_host(known.get(b"host"), self._is_own_host)
        face = self._route(method, target)
        if face is None:
            self._last = not keep
            self._to_asgi(method, fields, headers, f"{target}?{query}" if query else target)
            return
        length = body_length_of(headers)
        expects = b"expect" in known and _expects_continue(headers) and not http10
        self._last = not keep
        started = 0.0 if self._observe is None else perf_counter()
        request = Request(method, target, headers, None, b"", query, self._scheme, self._client_host, started)
        if isinstance(face, Relay):
            self._mode = _COLD
            arrival = Arrival(length=length, expects_continue=expects, http10=http10, keep=keep)
            cycle = RelayCycle(self, arrival, request, face, fields)
            self._inbox = cycle.inbox
            self._go_cold(cycle)
            return
        is_free = not expects and not self._is_busy() and not self.flow.write_paused
        if is_free and length is not None and length <= self._memory_bytes:
            self._mode = _HOT
            self._request = request
            self._face = face
            self._length = length
            self._http10 = http10
        else:
            self._mode = _COLD
            arrival = Arrival(length=length, expects_continue=expects, http10=http10, keep=keep)
            self._go_cold(Cycle(self, arrival, request, face))

    def _to_asgi(self, method: str, fields: Fields, headers: Headers, target: str) -> None:
        """Let uvicorn do as it would have done with a `target` in origin form; it fails at some in absolute form."""
        self._mode = _ASGI
        super().on_message_begin()
        self.url = target.encode("ascii")
        self.headers = fields
        self.scope["headers"] = fields
        self.expect_100_continue = _expects_continue(headers)
        super().on_headers_complete()
        self.scope["method"] = method  # the application is called later
        self.headers = _NOWHERE
        if self._standing is not None:
            self.pause_behind()

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        self._body_came = True
        self._window += len(body)
        mode = self._mode
        if mode is _HOT:
            self._parts.append(body)
        elif mode is _COLD:
            cast("Cycle", self.cycle).intake.feed(body)
        elif mode is _ASGI:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here."""
        self._phase = _IDLE
        self._since = self._sweep.now
        mode = self._mode
        if mode is _HOT:
            parts = self._parts
            if parts:
                self._request.body = parts[0] if len(parts) == 1 else b"".join(parts)
                self._parts = []
            self._answer_hot()
        elif mode is _COLD:
            cast("Cycle", self.cycle).intake.finish()
        elif mode is _ASGI:
            super().on_message_complete()
        self._mode = _IGNORED

    # Answers

    def _answer_hot(self) -> None:
        """Answer here and now where that is short work; otherwise start a cycle."""
        request = self._request
        face = self._face
        try:
            principal = self._identify_now(request)
            if isinstance(principal, Slow):
                self._go_cold(self._complete_cycle())
                return
            request.principal = principal
            if not face.is_brief(request):
                refusal = face.admit(request)  # a refusal is brief, whatever the work would be
                if refusal is None:
                    self._go_cold(self._complete_cycle())
                    return
                response = refusal
            elif len(self.connections) == 1:
                # Nobody else is connected, so nobody can share a commit, and holding would only cost time.
                response = face(request)
            else:
                response = self._holder.call(face, request)
        except Exception as error:  # noqa: BLE001 - whatever a face raises is answered
            response = failure_of(face, error)
        if not isinstance(response.body, bytes) and not _read_in(response, request.method):
            self._answer_later(response)
            return
        if response.awaits_sync and self._holder.must_wait():
            self._hold(response)
        else:
            self._write_whole(response, request, keep=not self._last, http10=self._http10)

    def _hold(self, response: Response) -> None:
        """Keep the answer, whose body is bytes, until what it tells is sure; requests that follow wait behind it."""
        answer = HeldAnswer(self, self._request, response, keep=not self._last, http10=self._http10)
        self.cycle = cast("RequestResponseCycle", answer)
        self._holder.add(answer)

    def send_held(self, answer: HeldAnswer, response: Response) -> None:
        """Write `response`, and go on with the next request."""
        answer.response_complete = True
        self._standing = None
        if self.transport.is_closing():
            return
        self._write_whole(response, answer.request, keep=answer.keep_alive, http10=answer.http10)
        if answer.keep_alive:
            self.go_on()

    def _answer_later(self, response: Response) -> None:
        """Answer what is not all bytes: by a cycle, or when the answer itself comes."""
        body = response.body
        if not isinstance(body, list) and isinstance(body, Pending):
            self.park(self.cycle, self._request, response, body, keep=not self._last, http10=self._http10)
            return
        cycle = self._complete_cycle()
        cycle.preset = self._committed(response)
        self._go_cold(cycle)

    def _committed(self, response: Response) -> Response:
        """`response`, once what it promises is committed; or the one that says that it was undone."""
        if response.awaits_sync and not self._holder.flush():
            close_body(response.body)
            return unkept()
        return response

    def send_parked(self, parked: Parked, response: Response) -> None:
        """Send the answer of a parked request; TypeError where it is Pending again."""
        body = response.body
        if not isinstance(body, (bytes, list)) and isinstance(body, Pending):
            msg = "the answer of a parked request is Pending"
            raise TypeError(msg)
        if self.transport.is_closing():
            close_body(body)
        elif not isinstance(body, bytes) and not _read_in(response, parked.request.method):
            self._send_by_cycle(parked, self._committed(response))
        elif response.awaits_sync and self._holder.must_wait():
            parked.response = response
            self._holder.add(parked)
        else:
            self.send_held(parked, response)

    def _send_by_cycle(self, parked: Parked, response: Response) -> None:
        """Put a cycle that sends `response` where the parked request stands, before all that queue behind it."""
        parked.response_complete = True
        self._standing = None
        arrival = Arrival(length=0, expects_continue=False, http10=parked.http10, keep=parked.keep_alive)
        cycle = Cycle(self, arrival, parked.request, None)
        cycle.preset = response
        cycle.intake.finish()
        self._put_in_place(parked, cycle)
        self._start_cycle(cycle)

    def _write_whole(self, response: Response, request: Request, *, keep: bool, http10: bool) -> None:
        """Write an answer whose body is bytes; close where it is the last."""
        body = response.body
        assert isinstance(body, bytes)
        connection = "" if keep and not http10 else connection_field(keep=keep, http10=http10)
        defaults = self.runtime.defaults(self.server_state.default_headers)
        if self._observe is not None:
            self._observe(request, response)
        try:
            head = encode_head(response, len(body), defaults, connection)
        except HeadError:
            logger.exception("an answer could not be sent; 500 was sent in its place")
            response = problem(500, "The server failed to answer this request; its log says more.")
            body = cast("bytes", response.body)
            head = encode_head(response, len(body), defaults, connection)
        bodiless = request.method == "HEAD" or response.status in BODILESS
        self.transport.write(head if bodiless else head + body)
        self.server_state.total_requests += 1
        if not keep:
            self.close_after(unread=False)

    def _complete_cycle(self) -> Cycle:
        keep = not self._last
        arrival = Arrival(length=self._length, expects_continue=False, http10=self._http10, keep=keep)
        cycle = Cycle(self, arrival, self._request, self._face)
        cycle.intake.feed(cast("bytes", self._request.body))
        cycle.intake.finish()
        self._request.body = b""
        return cycle


def _read_in(response: Response, method: str) -> bool:
    """Put the bytes of small files into the body itself; False where that cannot be, or is not to be."""
    parts = response.body
    if not isinstance(parts, list) or method == "HEAD" or (body_length(parts) or 0) > SMALL_BYTES:
        return False
    try:
        response.body = read_small(parts)
    except (OSError, TruncatedError):
        return False
    return True


def _expects_continue(headers: Headers) -> bool:
    return (headers.get(b"expect") or "").lower() == "100-continue"


def protocol_class(runtime: Runtime) -> type[HoldfastProtocol]:
    """The class to give to uvicorn as `http=`, bound to `runtime`."""
    return type("BoundHoldfastProtocol", (HoldfastProtocol,), {"runtime": runtime})
