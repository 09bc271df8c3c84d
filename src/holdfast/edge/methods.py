"""Methods that the parser does not know: read before it reads, since any token is a method (RFC 9110 section 9.1).

Owns: where the method of a request ends that begins at a known place, and what the parser is shown in its stead. Must
not know: what a method means.

Theory of operation: the parser refuses what is not in its table. So where it stands between two requests, the bytes
that follow are looked at first: a method that it may not know is replaced by POST, and the request keeps its true one.
For the parser no method but CONNECT changes where a request ends, so the framing that it finds is that of the true
request. A method that has come in part is kept until it is whole; whatever is no method is left for the parser to
refuse. Only the parser knows where a request ends. So where it refuses a method behind another request in one packet,
the packet is read once more, byte by byte up to the refused request, to learn where that begins; no byte is read so
more than twice. Where the packet does not begin between two requests, that cannot be learnt, and the refusal stands;
it stands too for the methods of RTSP behind another request in one packet, which the parser knows and refuses later.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import httptools

__all__ = ["MOST_BYTES", "PARSED", "Opening", "new_parser", "open_request", "refused_request"]

MOST_BYTES: Final = 32
"""The longest method that is let through."""

PARSED: Final = frozenset(
    {
        *(b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE"),
        *(b"PROPFIND", b"PROPPATCH", b"MKCOL", b"COPY", b"MOVE", b"LOCK", b"UNLOCK"),
        *(b"CONNECT", b"PRI"),
    }
)
"""What the parser is to see as it is: the methods that are used most, the one with a framing of its own, and HTTP/2's."""

_STAND_IN: Final = b"POST"
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")


class Opening(NamedTuple):
    """The first bytes of a request, and of what may be before it."""

    parsed: bytes
    """For the parser, now."""
    kept: bytes
    """The start of a method, to be put before what comes next; at most `MOST_BYTES`."""
    method: str
    """What `POST` in `parsed` stands for; empty where the parser reads the method itself."""


def open_request(data: bytes) -> Opening:
    """Look at `data`, which is not empty and begins between two requests, where empty lines may be (RFC 9112 section 2.2)."""
    start = len(data) - len(data.lstrip(b"\r\n"))
    end = data.find(b" ", start, start + MOST_BYTES + 1)
    method = data[start : end if end != -1 else start + MOST_BYTES + 1]
    if _TOKEN.fullmatch(method) is None:
        return Opening(data, b"", "")
    if end == -1:
        return Opening(data[:start], method, "")
    if method in PARSED:
        return Opening(data, b"", "")
    return Opening(data[:start] + _STAND_IN + data[end:], b"", method.decode("ascii"))


def new_parser(listener: object) -> httptools.HttpRequestParser:
    """A parser as uvicorn makes it: what follows the last request of a connection is no error."""
    parser = httptools.HttpRequestParser(listener)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


class _Begins:
    """Notes that a request begins."""

    def __init__(self) -> None:
        self.came = False

    def on_message_begin(self) -> None:
        self.came = True


def refused_request(data: bytes) -> Opening | None:
    """The first request in `data` whose method the parser refuses, opened; None where it is not to be read either.

    `data` begins between two requests, and the parser has refused a method in it.
    """
    begins = _Begins()
    parser = new_parser(begins)
    start = 0
    for index in range(len(data)):
        try:
            parser.feed_data(data[index : index + 1])
        except httptools.HttpParserInvalidMethodError:
            if begins.came:
                start = index
            opening = open_request(data[start : start + MOST_BYTES + 1])
            if opening.method or opening.kept:
                return opening._replace(parsed=opening.parsed + memoryview(data)[start + MOST_BYTES + 1 :])
            return None
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
        if begins.came:
            begins.came = False
            start = index
    return None
