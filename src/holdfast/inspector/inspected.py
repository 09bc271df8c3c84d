"""An exchange with what its parts turn out to be: what every rule is given.

Owns: the views of the response's body (XML, JSON, what a client would learn of a lock), each made once, when first asked for.
Must not know: any rule. Nothing here raises for any input: a view that cannot be made says why.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final
from urllib.parse import SplitResult, urljoin, urlsplit

import msgspec

from holdfast.client.details import LockedDetails
from holdfast.client.exchange import ClientResponse, Headers, bounded_body
from holdfast.client.reading import read_locked
from holdfast.inspector.budget import Budget
from holdfast.inspector.davelements import Member, is_code, members_of
from holdfast.inspector.exchange import Exchange, ReceivedResponse, SentRequest
from holdfast.wire.rfc9110.dates import parse_http_date
from holdfast.wire.xmlread import Element, XmlError, XmlLimits, parse_xml

__all__ = ["WEBDAV_METHODS", "Inspected", "Unreadable", "is_uri_reference", "split_url"]

WEBDAV_METHODS: Final = frozenset({"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK"})
"""The methods of RFC 4918: whoever uses one reads DAV:error."""

_COMPRESSED: Final = {"gzip": b"\x1f\x8b", "x-gzip": b"\x1f\x8b", "deflate": b"\x78"}
_URI: Final = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*", re.ASCII)
_XML_TYPES: Final = frozenset({"application/xml", "text/xml"})


def split_url(text: str) -> SplitResult | None:
    """The parts of a URL; None where it is none, its port included."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    return parts


def is_uri_reference(text: str) -> bool:
    """True for a URI or a relative reference (RFC 3986 section 4.1): its characters alone, % only before two hexadecimal digits."""
    return _URI.fullmatch(text) is not None and split_url(text) is not None


class Unreadable(msgspec.Struct, frozen=True):
    """In the place of a view: why there is none."""

    reason: str


class Inspected:
    """One exchange under inspection. `now` is the wall time, aware, that stands in where nobody noted when it was received.

    A body that `budget` has no room for is not looked at: the exchange is then the one of which only the head is at hand, and
    `left_out` says why.
    """

    def __init__(self, exchange: Exchange, now: datetime | None = None, budget: Budget | None = None) -> None:
        """Look at the length of the body, and at nothing else yet."""
        self.budget = Budget() if budget is None else budget
        limits = self.budget.limits
        self._limits = XmlLimits(size_bytes=limits.bytes_each, depth=64, nodes=limits.nodes_each)
        self.content = _decoded(exchange.response, self.budget.most_bytes + 1)
        """The body with its content coding undone, where that is gzip or deflate and it was not undone before (HAR, `curl --compressed`)."""
        self.left_out = self.budget.take(self.content)
        """Why the body is not judged; empty where it is."""
        if self.left_out:
            head = msgspec.structs.replace(exchange.response, body=b"", body_is_known=False)
            exchange, self.content = msgspec.structs.replace(exchange, response=head), b""
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
    def has_content(self) -> bool:
        """True where there is a body, all of it is at hand, and it can be read: rules may judge what it says."""
        response = self.response
        if not (response.body_is_known and response.body_is_whole and self.content):
            return False
        coding = (response.field("content-encoding") or "").strip().lower()
        return coding in {"", "identity"} or coding in _COMPRESSED or self.content[:1] in {b"<", b"{", b"["}

    @cached_property
    def lacks_content(self) -> bool:
        """True where a body was possible and known to be empty: not for HEAD, 1xx, 204, 304, nor where only the head is known."""
        response = self.response
        if self.method == "HEAD" or self.status < 200 or self.status in {204, 304}:
            return False
        return response.body_is_known and response.body_is_whole and not response.body

    @cached_property
    def is_xml(self) -> bool:
        """True where the Content-Type says so, or the body begins like it."""
        media_type = self.response.media_type
        if media_type in _XML_TYPES or media_type.endswith("+xml"):
            return True
        return not media_type and self.content.lstrip()[:5] == b"<?xml"

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
            return parse_xml(self.content, self._limits)
        except XmlError as error:
            return Unreadable(str(error))

    @cached_property
    def root(self) -> Element | None:
        """The root of the body where that is XML, whatever its Content-Type says; None where it is none, or not at hand."""
        if not self.has_content or not (self.is_xml or self.content[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<"):
            return None
        return None if isinstance(self.xml, Unreadable) else self.xml

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """What the body says of each member, where it is a DAV:multistatus."""
        return members_of(self.root)

    @cached_property
    def locked_members(self) -> tuple[Member, ...]:
        """The members that are refused as locked: by their status, or by the code in their error."""
        return tuple(
            one
            for one in self.members
            if one.status == 423 or (one.error is not None and any(is_code(item) for item in one.error.elements()))
        )

    @cached_property
    def json(self) -> Any:
        """The body as JSON; Unreadable where it is none."""
        try:
            return msgspec.json.decode(self.content)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return Unreadable(str(error))

    @cached_property
    def locked(self) -> LockedDetails | None:
        """What a client learns of the lock; None where the response does not say that anything is locked."""
        response = self.response
        return read_locked(
            ClientResponse(
                status=response.status,
                url="" if self.request is None else self.request.url,
                headers=Headers(response.fields),
                body=self.content,
                method=self.method,
                destination=self.exchange.requested("destination") or "",
            )
        )

    @cached_property
    def url(self) -> SplitResult | None:
        """The request's URL in its parts; None where it is not known or is none."""
        return None if self.request is None or not self.request.url else split_url(self.request.url)

    @cached_property
    def destination(self) -> SplitResult | None:
        """Where COPY or MOVE goes to, made absolute; None where it is not known or is no URL."""
        value = self.exchange.requested("destination")
        if not value or self.request is None:
            return None
        try:
            return split_url(urljoin(self.request.url, value))
        except ValueError:
            return None

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


def _decoded(response: ReceivedResponse, most: int) -> bytes:
    body = response.body
    coding = (response.field("content-encoding") or "").strip().lower()
    sign = _COMPRESSED.get(coding)
    if sign is None or not body.startswith(sign):
        return body[:most]
    return bounded_body([body], coding, most)
