"""HTTP/1.x as bytes: heads and bodies, and what was wrong with how they were put (RFC 9112).

Owns: the grammar of a head, the length of a body, the chunked transfer coding, and the table of faults. Must not know: where the
bytes come from. It reads from a stream that ends by itself; whoever gives one bounds its size and its time.

Each step of each loop takes at least a byte of the stream or ends, and nothing recurses, so that no input can hold it up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import BinaryIO, Final

import msgspec

from holdfast.inspector.exchange import FieldLine, FramingFault

__all__ = [
    "FAULTS",
    "MOST_HEAD_BYTES",
    "Content",
    "Head",
    "HeadError",
    "codings_of",
    "fault",
    "faults_of_fields",
    "has_no_content",
    "lengths_of",
    "parse_head",
    "read_chunked",
    "read_content",
    "read_head",
    "wrong_length",
]

MOST_HEAD_BYTES: Final = 256 * 1024
"""Longest head that is read, in bytes; what follows it is not."""

FAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bare-cr": "a carriage return stands alone in the head (RFC 9112 section 2.2)",
        "bare-lf": "a line of the head ends in a line feed without a carriage return (RFC 9112 section 2.2)",
        "body-not-allowed": "there are bytes after a head that has no content (RFC 9112 section 6.3)",
        "chunk-malformed": "a chunk is not its size, its bytes and a line end (RFC 9112 section 7.1)",
        "chunked-cut": "the chunks end without the last one, of size 0 (RFC 9112 section 8)",
        "content-length-and-transfer-encoding": "Content-Length and Transfer-Encoding are both there (RFC 9112 section 6.2)",
        "content-length-invalid": "Content-Length is not a number (RFC 9110 section 8.6)",
        "content-length-repeated": "Content-Length is there more than once (RFC 9110 section 8.6)",
        "content-length-wrong": "as many bytes as Content-Length says did not come (RFC 9112 section 6.3)",
        "excess-data": "more bytes come after the end of the response (RFC 9112 section 6.3)",
        "field-malformed": "a line of the head is no field (RFC 9112 section 5)",
        "head-cut": "the head ends without an empty line (RFC 9112 section 2.1)",
        "head-too-long": "the head is longer than is read",
        "obs-fold": "a field goes on in the next line (RFC 9112 section 5.2)",
        "space-before-colon": "white space stands between a field's name and its colon (RFC 9112 section 5.1)",
        "transfer-encoding-not-allowed": "Transfer-Encoding is in a 1xx or 204 (RFC 9112 section 6.1)",
        "transfer-encoding-unknown": "Transfer-Encoding does not end in chunked, or names another coding (RFC 9112 section 6.1)",
    }
)
"""Every code of a FramingFault, with what it means."""

_STATUS_LINE: Final = re.compile(rb"HTTP/(1\.[01]|[23])(?:\.0)?[ \t]+([1-9][0-9]{2})(?:[ \t]+(.*))?")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?")
_LONGEST_CHUNK_LINE: Final = 4096
_PIECE: Final = 64 * 1024


class HeadError(Exception):
    """There is no HTTP response where one should begin; the text is a plain sentence."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The status line and the fields of one response."""

    status: int
    version: str
    reason: str
    fields: tuple[FieldLine, ...]
    faults: tuple[FramingFault, ...] = ()

    def values(self, name: str) -> list[str]:
        """The value of each line of a field; `name` in lower case."""
        return [value for found, value in self.fields if found.lower() == name]

    @property
    def is_interim(self) -> bool:
        """True for a 1xx that another response follows; 101 ends HTTP on the connection (RFC 9110 section 15.2.2)."""
        return self.status < 200 and self.status != 101


class Content(msgspec.Struct, frozen=True):
    """A body without its transfer coding. It is not whole where it was cut, by whoever sent it or by the limit."""

    body: bytes
    is_whole: bool = True
    faults: tuple[FramingFault, ...] = ()


def fault(code: str, detail: str) -> FramingFault:
    """A FramingFault of the table; `detail` is a sentence about this very message. Raises KeyError for an unknown code."""
    assert FAULTS[code]
    return FramingFault(code, detail)


def has_no_content(status: int, method: str) -> bool:
    """True where a response ends with its head, whatever its fields say (RFC 9112 section 6.3, rule 1)."""
    return method == "HEAD" or status < 200 or status in {204, 304}


def read_head(stream: BinaryIO, *, is_wire: bool = True) -> Head | None:
    """The next head; None where the stream ends before its first byte. Raises HeadError where it is none."""
    raw = bytearray()
    is_ended = False
    while len(raw) < MOST_HEAD_BYTES:
        line = stream.readline(MOST_HEAD_BYTES - len(raw))
        if not line:
            break
        if not line.strip(b"\r\n") and line.endswith(b"\n"):
            if not raw:  # an empty line before the start line (RFC 9112 section 2.2)
                continue
            is_ended = True
            break
        raw += line
    if not raw:
        return None
    head = parse_head(bytes(raw), is_wire=is_wire)
    if is_ended or not is_wire:
        return head
    code, said = "head-cut", "The connection ended in the middle of the head."
    if len(raw) >= MOST_HEAD_BYTES:
        code, said = "head-too-long", f"The head has more than {MOST_HEAD_BYTES} bytes."
    return msgspec.structs.replace(head, faults=(*head.faults, fault(code, said)))


def parse_head(raw: bytes, *, is_wire: bool = True) -> Head:
    """A head from its bytes, without the empty line. Raises HeadError.

    Where it did not come from the wire (`is_wire`), nothing is said of how its lines end: editors change that.
    """
    *ended, last = raw.split(b"\n")
    lines = [*ended, last] if last else ended
    start = lines[0].rstrip(b"\r") if lines else b""
    match = _STATUS_LINE.fullmatch(start)
    if match is None:
        shown = start[:60].decode("latin-1")
        msg = f"No HTTP response begins with {shown!r}; one begins like HTTP/1.1 423 Locked."
        raise HeadError(msg)
    faults: dict[str, FramingFault] = {}
    if is_wire and any(not line.endswith(b"\r") for line in ended):
        faults["bare-lf"] = fault("bare-lf", "A line of the head ends in LF alone.")
    fields = _parse_fields([line.removesuffix(b"\r").decode("latin-1") for line in lines[1:]], faults)
    return Head(
        status=int(match[2]),
        version=match[1].decode(),
        reason=(match[3] or b"").decode("latin-1").strip(),
        fields=tuple(fields),
        faults=tuple(faults.values()),
    )


def _parse_fields(lines: list[str], faults: dict[str, FramingFault]) -> list[FieldLine]:
    """Name and value of each line; what is wrong is kept in `faults`, the first of each kind."""
    fields: list[tuple[str, list[str]]] = []
    for line in lines:
        if "\r" in line:
            faults.setdefault("bare-cr", fault("bare-cr", f"There is a carriage return inside of {line[:60]!r}."))
        if line[:1] in {" ", "\t"} and fields:
            name, values = fields[-1]
            values.append(line.strip(" \t"))
            faults.setdefault("obs-fold", fault("obs-fold", f"The field {name} goes on in the next line."))
            continue
        name, colon, value = line.partition(":")
        trimmed = name.rstrip(" \t")
        if not colon or _TOKEN.fullmatch(trimmed) is None:
            faults.setdefault("field-malformed", fault("field-malformed", f"This line is no field: {line[:60]!r}."))
            continue
        if trimmed != name:
            said = f"There is white space between {trimmed} and its colon."
            faults.setdefault("space-before-colon", fault("space-before-colon", said))
        fields.append((trimmed, [value.strip(" \t")]))
    return [(name, " ".join(values)) for name, values in fields]


def lengths_of(head: Head) -> tuple[int | None, list[FramingFault]]:
    """What Content-Length says, None where it says nothing that counts; and what is wrong with it."""
    said = [part.strip() for value in head.values("content-length") for part in value.split(",")]
    if not said:
        return None, []
    faults: list[FramingFault] = []
    if len(said) > 1:
        text = ", ".join(said)[:60]
        faults.append(fault("content-length-repeated", f"Content-Length is there {len(said)} times: {text}."))
    if len(set(said)) > 1:
        return None, faults
    number = said[0]
    if not (number.isascii() and number.isdigit()) or len(number) > 18:
        faults.append(fault("content-length-invalid", f"Content-Length is {number[:60]!r}, which is no length."))
        return None, faults
    return int(number), faults


def codings_of(head: Head) -> list[str]:
    """The transfer codings, in lower case, in the order in which they were applied."""
    return [part.strip().lower() for value in head.values("transfer-encoding") for part in value.split(",")]


def faults_of_fields(head: Head) -> list[FramingFault]:
    """What is wrong with the fields that frame the body, whatever the body is."""
    _, faults = lengths_of(head)
    codings = codings_of(head)
    if not codings:
        return faults
    if head.status < 200 or head.status == 204:
        said = f"A {head.status} has no Transfer-Encoding, for it has no content."
        faults.append(fault("transfer-encoding-not-allowed", said))
    if head.values("content-length"):
        said = "Content-Length and Transfer-Encoding are both there: two programs may disagree about where the response ends."
        faults.append(fault("content-length-and-transfer-encoding", said))
    if codings != ["chunked"]:
        faults.append(fault("transfer-encoding-unknown", f"Transfer-Encoding is {', '.join(codings)[:60]!r}."))
    return faults


def read_content(stream: BinaryIO, head: Head, method: str, most_bytes: int) -> Content:
    """The body that follows `head` in a stream of what went over the wire, as RFC 9112 section 6.3 finds its end.

    What is wrong with the fields is not told again: see `faults_of_fields`.
    """
    if has_no_content(head.status, method):
        return Content(b"")
    codings = codings_of(head)
    if codings and codings[-1] == "chunked":
        return read_chunked(stream, most_bytes)
    length = None if codings else lengths_of(head)[0]
    if length is None:
        body = stream.read(most_bytes + 1)
        return Content(body[:most_bytes], len(body) <= most_bytes)
    wanted = min(length, most_bytes)
    body = stream.read(wanted)
    if len(body) == wanted:
        return Content(body, wanted == length)
    return Content(body, False, (wrong_length(length, len(body)),))


def wrong_length(said: int, came: int) -> FramingFault:
    """The fault of a Content-Length that is not the length."""
    return fault("content-length-wrong", f"Content-Length says {said} bytes, and {came} came.")


def read_chunked(stream: BinaryIO, most_bytes: int) -> Content:
    """A body in the chunked transfer coding, with its trailer section read over."""
    body = bytearray()
    while True:
        line = stream.readline(_LONGEST_CHUNK_LINE)
        if not line:
            return _cut(body)
        match = _CHUNK_SIZE.fullmatch(line.rstrip(b"\n").removesuffix(b"\r"))
        if match is None or not line.endswith(b"\r\n"):
            said = f"Where a chunk's size should stand there is {line[:40]!r}."
            return Content(bytes(body), False, (fault("chunk-malformed", said),))
        size = int(match[1], 16)
        if size == 0:
            return _trailers(stream, body)
        room = most_bytes - len(body)
        if size > room:
            body += stream.read(room)
            return Content(bytes(body), False)
        data = stream.read(size)
        body += data
        if len(data) < size:
            return _cut(body)
        end = stream.read(2)
        if end != b"\r\n":
            if not end:
                return _cut(body)
            said = f"A chunk of {size} bytes is followed by {end!r}, not by a line end."
            return Content(bytes(body), False, (fault("chunk-malformed", said),))


def _trailers(stream: BinaryIO, body: bytearray) -> Content:
    taken = 0
    while taken < MOST_HEAD_BYTES:
        line = stream.readline(_PIECE)
        taken += len(line)
        if line in {b"\r\n", b"\n"}:
            return Content(bytes(body))
        if not line:
            break
    return Content(bytes(body), True, (fault("chunked-cut", "After the last chunk, the empty line is missing."),))


def _cut(body: bytearray) -> Content:
    said = f"The response ended after {len(body)} bytes, before the last chunk."
    return Content(bytes(body), False, (fault("chunked-cut", said),))
