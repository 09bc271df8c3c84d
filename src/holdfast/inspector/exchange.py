"""An exchange: a request with its response, as they went over the wire.

Owns: the values that every rule reads, and the look-up of fields. Must not know: how the exchange was come by
(a live request, a dump, an HAR file), or what is right and wrong about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

__all__ = ["Exchange", "FieldLine", "FramingFault", "ReceivedResponse", "SentRequest", "values_of"]

FieldLine = tuple[str, str]
"""Name and value of one field line, as sent; bytes are read as Latin-1."""


def values_of(fields: Sequence[FieldLine], name: str) -> list[str]:
    """The value of each line of a field, in order, outer white space taken off; `name` in any case."""
    wanted = name.lower()
    return [value.strip(" \t") for found, value in fields if found.lower() == wanted]


class _Message(msgspec.Struct, frozen=True, kw_only=True):
    """What requests and responses share."""

    fields: tuple[FieldLine, ...] = ()
    body: bytes = b""
    version: str = "1.1"
    """One of 1.0, 1.1, 2 and 3."""

    def values(self, name: str) -> list[str]:
        """The value of each line of this field."""
        return values_of(self.fields, name)

    def field(self, name: str) -> str | None:
        """The lines of this field joined (RFC 9110 section 5.3); None where it was not sent."""
        found = self.values(name)
        return ", ".join(found) if found else None

    def has(self, name: str) -> bool:
        """True where the field was sent, empty or not."""
        return bool(self.values(name))

    @property
    def media_type(self) -> str:
        """Type and subtype of the Content-Type, in lower case; empty without one."""
        return (self.field("content-type") or "").partition(";")[0].strip().lower()


class SentRequest(_Message, frozen=True, kw_only=True):
    """The request; `url` is absolute, or a path where its host is not known, or empty."""

    method: str = "GET"
    url: str = ""


class FramingFault(msgspec.Struct, frozen=True):
    """What was wrong with the framing of a message (RFC 9112 section 6), seen while it was read: a short code and a sentence."""

    code: str
    detail: str


class ReceivedResponse(_Message, frozen=True, kw_only=True):
    """The final response.

    `body` is the content after transfer coding, as far as it was read; `body_is_whole` is False where it was cut at a limit or by the
    server. `body_is_known` is False where only the head is at hand (`curl -I`, an HAR file without content).
    """

    status: int
    reason: str = ""
    body_is_whole: bool = True
    body_is_known: bool = True
    faults: tuple[FramingFault, ...] = ()


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One request with its response. Where only a response was pasted, `request` is None and rules guess nothing.

    `received_at` is the wall time, aware, at which the head came; None where it is not known. `interim` are the 1xx before the
    response. `sent_s` is how long the request's body took to send and `answered_s` when the head came, in seconds from the start.
    """

    response: ReceivedResponse
    request: SentRequest | None = None
    received_at: datetime | None = None
    interim: tuple[ReceivedResponse, ...] = ()
    answered_s: float | None = None
    body_was_sent: bool | None = None
    """False where the response came before all of the request's body was sent; None where that is not known."""

    @property
    def method(self) -> str:
        """The request's method; empty where it is not known."""
        return "" if self.request is None else self.request.method

    def requested(self, name: str) -> str | None:
        """A field of the request; None where it was not sent or nothing is known of the request."""
        return None if self.request is None else self.request.field(name)

    def __iter__(self) -> Iterator[SentRequest | ReceivedResponse]:
        """The messages in order."""
        if self.request is not None:
            yield self.request
        yield from self.interim
        yield self.response
