"""An exchange with what its parts turn out to be: what every rule is given.

Owns: the views of the response's body (XML, JSON, what a client would learn of a lock), each made once, when first asked for.
Must not know: any rule. Nothing here raises for any input: a view that cannot be made says why.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

import msgspec

from holdfast.client.details import LockedDetails
from holdfast.client.exchange import ClientResponse, Headers
from holdfast.client.reading import read_locked
from holdfast.inspector.exchange import Exchange, ReceivedResponse, SentRequest
from holdfast.wire.rfc9110.dates import parse_http_date
from holdfast.wire.xmlread import Element, XmlError, XmlLimits, parse_xml

__all__ = ["WEBDAV_METHODS", "Inspected", "Unreadable"]

WEBDAV_METHODS: Final = frozenset({"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK"})
"""The methods of RFC 4918: whoever uses one reads DAV:error."""

_LIMITS: Final = XmlLimits(size_bytes=4 * 1024 * 1024, depth=64, nodes=50_000)
_XML_TYPES: Final = frozenset({"application/xml", "text/xml"})


class Unreadable(msgspec.Struct, frozen=True):
    """In the place of a view: why there is none."""

    reason: str


class Inspected:
    """One exchange under inspection. `now` is the wall time, aware, that stands in where nobody noted when it was received."""

    def __init__(self, exchange: Exchange, now: datetime | None = None) -> None:
        """Look at nothing yet."""
        self.exchange = exchange
        self.now = exchange.received_at or now or datetime.now(UTC)

    @property
    def response(self) -> ReceivedResponse:
        """The final response."""
        return self.exchange.response

    @property
    def request(self) -> SentRequest | None:
        """The request, where it is known."""
        return self.exchange.request

    @property
    def status(self) -> int:
        """The final status."""
        return self.exchange.response.status

    @property
    def method(self) -> str:
        """The request's method; empty where it is not known."""
        return self.exchange.method

    @cached_property
    def is_xml(self) -> bool:
        """True where the Content-Type says so, or the body begins like it."""
        media_type = self.response.media_type
        if media_type in _XML_TYPES or media_type.endswith("+xml"):
            return True
        return not media_type and self.response.body.lstrip()[:5] == b"<?xml"

    @cached_property
    def is_json(self) -> bool:
        """True where the Content-Type is JSON or built on it."""
        media_type = self.response.media_type
        return media_type == "application/json" or media_type.endswith("+json")

    @property
    def is_problem(self) -> bool:
        """True where the Content-Type says problem details (RFC 9457)."""
        return self.response.media_type == "application/problem+json"

    @cached_property
    def xml(self) -> Element | Unreadable:
        """The root element of the body."""
        try:
            return parse_xml(self.response.body, _LIMITS)
        except XmlError as error:
            return Unreadable(str(error))

    @cached_property
    def json(self) -> Any:
        """The body as JSON; Unreadable where it is none."""
        try:
            return msgspec.json.decode(self.response.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return Unreadable(str(error))

    @cached_property
    def locked(self) -> LockedDetails | None:
        """What a client learns of the lock; None where the response does not say that anything is locked."""
        response = self.response
        url = "" if self.request is None else self.request.url
        fields = Headers(response.fields)
        return read_locked(
            ClientResponse(status=response.status, url=url, headers=fields, body=response.body, method=self.method)
        )

    @cached_property
    def date(self) -> datetime | None:
        """The Date field; None where it is missing or malformed."""
        values = self.response.values("date")
        return parse_http_date(values[0]) if len(values) == 1 else None

    @cached_property
    def retry_after(self) -> timedelta | None:
        """What Retry-After says, counted from the Date field or else from receipt; None where it is missing or malformed."""
        values = self.response.values("retry-after")
        if len(values) != 1:
            return None
        value = values[0]
        if value.isascii() and value.isdigit():
            return timedelta(seconds=min(int(value[:12]), 10**9))
        instant = parse_http_date(value)
        return None if instant is None else instant - (self.date or self.now)
