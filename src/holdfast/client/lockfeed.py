"""Following the record of a Holdfast server: Server-Sent Events, and going on where a stream broke off.

Owns: the lines of a stream, and which request goes on. Must not know: connections, or who listens.
"""

from __future__ import annotations

from typing import Final

import msgspec

from holdfast.client.acquiring import Endpoint
from holdfast.client.asking import Filters, query_of
from holdfast.client.lockviews import Gap, LockEvent
from holdfast.client.refusals import RefusedError
from holdfast.client.sending import TimedRequest

__all__ = ["LockFeed"]

_SILENCE_S: Final = 40.0  # a server says something every 15 seconds
_MOST_LINE: Final = 64 * 1024
_LONGEST_PAUSE_S: Final = 30.0


class LockFeed:
    """One listener: what it asks for, how far it has got, and how long it rests after a break.

    >>> feed = LockFeed(Endpoint("http://127.0.0.1:4230"), {"under": "/orders"})
    >>> feed.request().url
    'http://127.0.0.1:4230/api/events?under=%2Forders'
    """

    def __init__(self, endpoint: Endpoint, filters: Filters, after: int | None = None) -> None:
        """Follow what fits `filters`, from the seq `after` on, or from now on."""
        self._endpoint = endpoint
        self._filters = filters
        self._last_id = "" if after is None else str(after)
        self._retry_s = 2.0
        self._failures = 0
        self._rest = b""
        self._fields: dict[bytes, bytes] = {}

    def request(self) -> TimedRequest:
        """What opens the stream, or goes on with it."""
        self._rest, self._fields = b"", {}
        path = f"/api/events{query_of(self._filters)}"
        fields = {"Last_Event_ID": self._last_id} if self._last_id else {}
        return self._endpoint.request(
            "GET", path, within=_SILENCE_S, **fields, Accept="text/event-stream, application/problem+json"
        )

    def opened(self, status: int, retry_after: str = "") -> bool:
        """True where the stream is there, False where it may be asked for again. Raises RefusedError."""
        if status == 200:
            self._failures = 0
            return True
        if status not in {429, 500, 502, 503, 504}:
            raise RefusedError(status, "the server gives no stream of events")
        if retry_after.isdecimal() and len(retry_after) < 7:
            self._retry_s = max(self._retry_s, float(retry_after))
        return False

    def pause(self) -> float:
        """How many seconds to rest before the next request."""
        self._failures += 1
        return min(self._retry_s * 2 ** (self._failures - 1), _LONGEST_PAUSE_S)

    def take(self, piece: bytes) -> list[LockEvent | Gap]:
        """What this piece of the stream completes. Raises RefusedError where it is no stream of a lock server."""
        text = self._rest + piece
        *lines, self._rest = text.split(b"\n")
        if len(self._rest) > _MOST_LINE:
            raise RefusedError(200, "the stream of events has an endless line")
        found: list[LockEvent | Gap] = []
        for line in lines:
            event = self._line(line.removesuffix(b"\r"))
            if event is not None:
                found.append(event)
        return found

    def _line(self, line: bytes) -> LockEvent | Gap | None:
        if line:
            name, _, value = line.partition(b":")
            if name:
                self._fields[name] = value.removeprefix(b" ")
            return None
        fields, self._fields = self._fields, {}
        retry = fields.get(b"retry", b"")
        if retry.isdigit() and len(retry) < 7:
            self._retry_s = max(int(retry) / 1000, 0.05)
        if fields.get(b"id", b"").isdigit():
            self._last_id = fields[b"id"].decode("ascii")
        if b"data" not in fields:
            return None
        kind = Gap if fields.get(b"event") == b"gap" else LockEvent
        try:
            return msgspec.json.decode(fields[b"data"], type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            msg = f"the stream of events cannot be read: {error}"
            raise RefusedError(200, msg) from None
