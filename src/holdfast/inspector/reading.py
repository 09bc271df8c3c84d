"""Texts that people have at hand -> exchanges: `curl -i`, `curl -v`, a capture of the wire, a request with its response.

Owns: finding the responses in a text, and telling a dump, whose body is decoded already, from a capture. Must not know: files,
sockets, what is right and wrong. A text is often not what went over the wire: editors change line ends, and curl takes the chunks
away. So a fault is told only where the text shows that it was in the response, and not where it may have come after.
"""

from __future__ import annotations

import io
import re
from datetime import datetime
from typing import Final

import msgspec

from holdfast.inspector.exchange import Exchange, FieldLine, FramingFault, ReceivedResponse, SentRequest
from holdfast.inspector.framing import (
    MOST_HEAD_BYTES,
    Content,
    Head,
    HeadError,
    codings_of,
    fault,
    faults_of_fields,
    has_no_content,
    lengths_of,
    parse_head,
    read_chunked,
    wrong_length,
)

__all__ = ["MOST_RESPONSES", "ReadingError", "read_exchange", "read_exchanges"]

MOST_RESPONSES: Final = 200
"""Responses that are read from one text; it is refused beyond."""

# Lengths are bounded, so that no line can be looked through again from each of its places.
_START: Final = rb"HTTP/(?:1\.[01]|[23])(?:\.0)? [1-5][0-9]{2}(?: [^\r\n<]{0,200})?\r?(?:\n|\Z)"
_FIRST: Final = re.compile(rb"^" + _START, re.MULTILINE)
# Inside of a body the same words may stand, as in a 207: what begins a response there has a field below it, or is a 100 with none.
_NEXT: Final = re.compile(_START + rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*:|\r?\nHTTP/)")
_AT_ONCE: Final = re.compile(rb"\s{0,64}" + _START)
_REQUEST: Final = re.compile(rb"^([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) HTTP/(1\.[01]|[23])(?:\.0)?\r?$", re.MULTILINE)
_EMPTY_LINE: Final = re.compile(rb"\r?\n\r?\n")

_SENT: Final = re.compile(rb"^>(?: ([^\n]*))?\r?$")
_VERBOSE: Final = re.compile(rb"^< HTTP/", re.MULTILINE)
_CURLS_WORDS: Final = re.compile(rb"^(?:\* |[{}] \[|  % Total|\s+Dload|\s*[0-9]+ +[0-9.kMG]+ +[0-9]+ )")
_CURLS_LAST: Final = re.compile(
    rb"\* (?:Connection #[0-9]+ to host|[Cc]losing connection|we are done)[^\n]{0,200}\n?\Z"
)
_OVER_TLS: Final = re.compile(rb"^\* .*(?:SSL connection using|TLSv1)", re.MULTILINE)

# What a body in these codings begins with; where it does not, curl --compressed has decoded it.
_MAGIC: Final = {"gzip": b"\x1f\x8b", "x-gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}


class ReadingError(Exception):
    """The text holds no response; a plain sentence says what would."""


def read_exchange(data: bytes, request: SentRequest | None = None, *, received_at: datetime | None = None) -> Exchange:
    """The last response in a text, with its request. See `read_exchanges`."""
    return read_exchanges(data, request, received_at=received_at)[-1]


def read_exchanges(
    data: bytes, request: SentRequest | None = None, *, received_at: datetime | None = None
) -> list[Exchange]:
    """Every response in a text but the interim ones, which stand with the one they came before. Raises ReadingError.

    `request` is what is known of the request; where the text shows it (`curl -v`, a request above its response), that counts.
    """
    requests, dump = _unmixed(data.removeprefix(b"\xef\xbb\xbf"))
    heads_at = _FIRST.search(dump)
    if heads_at is None:
        raise ReadingError(_no_response(dump))
    if not requests:
        shown = _request_above(dump[: heads_at.start()])
        requests = [] if shown is None else [shown]
    found: list[Exchange] = []
    interim: list[ReceivedResponse] = []
    place, count = heads_at.start(), 0
    while place < len(dump):
        count += 1
        if count > MOST_RESPONSES:
            msg = f"The text holds more than {MOST_RESPONSES} responses."
            raise ReadingError(msg)
        at = len(found)
        asked = requests[at] if at < len(requests) else request
        response, place, is_interim = _read_response(dump, place, "" if asked is None else asked.method)
        if is_interim:
            interim.append(response)
            continue
        found.append(Exchange(response=response, request=asked, received_at=received_at, interim=tuple(interim)))
        interim = []
    if not found:
        msg = f"There is only an interim response ({interim[-1].status}): the one that follows it is missing."
        raise ReadingError(msg)
    return found


def _no_response(dump: bytes) -> str:
    if not dump.strip():
        return "There is nothing to read: use curl -i, so that the response comes with its head."
    return "There is no response in this: one begins like HTTP/1.1 423 Locked. Use curl -i, so that it comes with its head."


def _read_response(dump: bytes, place: int, method: str) -> tuple[ReceivedResponse, int, bool]:
    """The response that begins at `place`, where what follows it begins, and whether it is an interim one."""
    gap = _EMPTY_LINE.search(dump, place)
    head_end, body_at = (len(dump), len(dump)) if gap is None else (gap.start(), gap.end())
    if head_end - place > MOST_HEAD_BYTES:
        msg = f"The head of a response has more than {MOST_HEAD_BYTES >> 10} KiB, the most that is read."
        raise ReadingError(msg)
    try:
        head = parse_head(dump[place:head_end], is_wire=False)
    except HeadError as error:
        raise ReadingError(str(error)) from error
    lines = dump[place:body_at]
    is_as_sent = gap is not None and lines.count(b"\n") == lines.count(b"\r\n")
    content, length = _content(dump[body_at:], head, method, is_as_sent=is_as_sent)
    response = ReceivedResponse(
        version=head.version,
        status=head.status,
        reason=head.reason,
        fields=head.fields,
        body=content.body,
        body_is_whole=content.is_whole,
        body_is_known=bool(content.body) or not _lacks_body(head, method),
        faults=(*head.faults, *faults_of_fields(head), *content.faults),
    )
    return response, body_at + length, head.is_interim


def _lacks_body(head: Head, method: str) -> bool:
    """True where a head alone was pasted, as of `curl -I`: its fields tell of a body, and there is none."""
    if has_no_content(head.status, method):
        return False
    length, _ = lengths_of(head)
    return length != 0 and bool(length or codings_of(head) or head.values("content-type"))


def _content(rest: bytes, head: Head, method: str, *, is_as_sent: bool) -> tuple[Content, int]:
    """The body of the response with this head, of which `rest` is what follows, and how long it is with what comes after."""
    if has_no_content(head.status, method):
        end = _end(rest)
        if not rest[:end].strip():
            return Content(b""), end
        said = f"A {head.status}{' to HEAD' if method == 'HEAD' else ''} has no content, and {len(rest[:end])} bytes follow its head."
        return Content(b"", faults=(fault("body-not-allowed", said),)), end
    if codings_of(head)[-1:] == ["chunked"] and _is_chunked(rest):
        stream = io.BytesIO(rest)
        content = read_chunked(stream, len(rest))
        taken = stream.tell()
        return content, taken + _end(rest[taken:]) if content.is_whole else len(rest)
    length, _ = lengths_of(head)
    if length is not None and not codings_of(head) and _is_between(rest, length):
        return Content(rest[:length]), length + _white(rest[length:])
    end = _end(rest)
    body = rest[:end]
    if length is None or codings_of(head) or not is_as_sent or not body or _is_decoded(head, body):
        return Content(body), end
    return Content(body, len(body) >= length, (_length_fault(length, len(body)),)), end


def _length_fault(said: int, came: int) -> FramingFault:
    if came > said:
        return fault("excess-data", f"Content-Length says {said} bytes, and {came} follow the head.")
    return wrong_length(said, came)


def _end(rest: bytes) -> int:
    """Where the next response begins, or the text ends."""
    if _AT_ONCE.match(rest) is not None:
        return _white(rest)
    following = _NEXT.search(rest)
    return len(rest) if following is None else following.start()


def _is_between(rest: bytes, length: int) -> bool:
    """True where `length` bytes reach to the end of the text, white space aside, or to the next response."""
    if len(rest) < length:
        return False
    after = rest[length:]
    return not after.strip() or _AT_ONCE.match(after) is not None


def _white(rest: bytes) -> int:
    return len(rest) - len(rest.lstrip())


def _is_chunked(rest: bytes) -> bool:
    """True where the body is as it went over the wire: it begins with a whole chunk, or with one that is cut off."""
    match = re.match(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n", rest)
    if match is None:
        return False
    size, after = int(match[1], 16), rest[match.end() :]
    return size == 0 or len(after) <= size or after[size : size + 2] == b"\r\n"


def _is_decoded(head: Head, body: bytes) -> bool:
    """True where Content-Encoding names a coding in which the body is not, so that Content-Length is that of another body."""
    codings = [part.strip().lower() for value in head.values("content-encoding") for part in value.split(",")]
    if not codings or codings == ["identity"]:
        return False
    magic = _MAGIC.get(codings[-1])
    return magic is None or not body.startswith(magic)


def _request_above(text: bytes) -> SentRequest | None:
    """The request that stands above the first response; None without one."""
    matches = list(_REQUEST.finditer(text))
    if not matches:
        return None
    last = matches[-1]
    head, _, body = text[last.start() :].replace(b"\r\n", b"\n").partition(b"\n\n")
    return _request(head.split(b"\n"), body.removesuffix(b"\n"), "http")


def _request(lines: list[bytes], body: bytes, scheme: str) -> SentRequest | None:
    match = _REQUEST.match(lines[0]) if lines else None
    if match is None:
        return None
    fields: list[FieldLine] = []
    for line in lines[1:]:
        name, colon, value = line.decode("latin-1").partition(":")
        if colon and name.strip():
            fields.append((name.strip(), value.strip()))
    request = SentRequest(
        method=match[1].decode("latin-1"),
        url=match[2].decode("latin-1"),
        version=match[3].decode(),
        fields=tuple(fields),
        body=body,
    )
    host = request.field("host")
    if host and request.url.startswith("/"):
        return msgspec.structs.replace(request, url=f"{scheme}://{host}{request.url}")
    return request


def _unmixed(data: bytes) -> tuple[list[SentRequest], bytes]:
    """The requests that `curl -v` shows, and the responses as `curl -i` would; any other text as it is."""
    if _VERBOSE.search(data) is None:
        return [], data
    scheme = "https" if _OVER_TLS.search(data) is not None else "http"
    requests: list[SentRequest] = []
    sent: list[bytes] = []
    plain: list[bytes] = []
    mixed: list[bytes] = []
    for line in data.splitlines(keepends=True):
        said = line.rstrip(b"\r\n")
        if (match := _SENT.fullmatch(said)) is not None:
            if (match[1] or b"").strip():
                sent.append(match[1].rstrip(b"\r"))
            elif (request := _request(sent, b"", scheme)) is not None:
                requests.append(request)
                sent = []
        elif said.startswith(b"< ") or said == b"<":
            mixed.append(line[2:] if said != b"<" else line[1:])
        elif line != b"\r" and _CURLS_WORDS.match(said) is None:  # the progress meter begins with one
            plain.append(line)
            mixed.append(line)
    shown = b"".join(plain)
    # With -i too, the heads stand there a second time, among the bodies.
    dump = shown if _FIRST.search(shown) is not None else b"".join(mixed)
    return requests, _CURLS_LAST.sub(b"", dump)
