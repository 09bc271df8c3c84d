"""A live request over a socket of its own, so that the response is seen as it went over the wire.

Owns: what is sent (and nothing beside it), interim responses, `Expect: 100-continue`, a response that comes before the request is
sent, redirects. Must not know: rules, proxies, cookies, caches. It speaks HTTP/1.1, one request to a connection. Everything ends at
one deadline, however slowly the other side drips.
"""

from __future__ import annotations

import io
import re
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec

from holdfast import __version__
from holdfast.inspector.addresses import AddressGuard
from holdfast.inspector.connecting import Deadline, Resolve, Wire, connect, resolve
from holdfast.inspector.exchange import Exchange, FieldLine, FramingFault, ReceivedResponse, SentRequest
from holdfast.inspector.framing import (
    MOST_HEAD_BYTES,
    Content,
    Head,
    HeadError,
    fault,
    faults_of_fields,
    has_no_content,
    read_content,
    read_head,
)
from holdfast.inspector.targets import FetchError, Target, redirected, target_of

__all__ = ["FetchError", "FetchLimits", "fetch"]

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNFIT_VALUE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_INTERIM: Final = re.compile(rb"HTTP/1\.[01] 1")
_MOST_INTERIM: Final = 50
_PIECE: Final = 64 * 1024
_EXPECT_S: Final = 1.0
_AFTER_S: Final = 0.25
_WITHOUT_BODY: Final = frozenset(
    {"GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "PROPFIND", "UNLOCK", "MKCOL", "COPY", "MOVE"}
)

# What a response that was cut off by our own limits cannot be blamed for.
_OF_A_CUT: Final = frozenset({"content-length-wrong", "chunked-cut", "head-cut"})


class FetchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """`total_s` is for the whole, redirects and look-ups included; `most_bytes` for each body."""

    total_s: float = 30.0
    most_bytes: int = 8 * 1024 * 1024
    redirects: int = 10


_LIMITS: Final = FetchLimits()


def fetch(
    request: SentRequest,
    *,
    limits: FetchLimits = _LIMITS,
    guard: AddressGuard | None = None,
    follows: bool = False,
    checks_tls: bool = True,
    look_up: Resolve = resolve,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> list[Exchange]:
    """Send `request` and read its response; with `follows`, also those of the redirects, so that the last is the one that counts.

    Host, User-Agent, Accept, Connection and Content-Length are added where `request` does not have them; the exchange tells what
    was sent. Raises FetchError, with a plain sentence, where there is no response.
    """
    deadline = Deadline(limits.total_s)
    found: list[Exchange] = []
    asked: SentRequest | None = request
    while asked is not None:
        if len(found) > limits.redirects:
            msg = f"There are more than {limits.redirects} redirects; the last leads to {asked.url}."
            raise FetchError(msg)
        target = target_of(asked.url)
        sent = _complete(asked, target)
        with connect(
            target,
            deadline,
            guard=guard,
            look_up=look_up,
            checks_tls=checks_tls,
            most=limits.most_bytes + 2 * MOST_HEAD_BYTES,
        ) as wire:
            found.append(_exchanged(wire, sent, target, limits, clock))
        asked = redirected(asked, found[-1].response) if follows else None
    return found


def _complete(request: SentRequest, target: Target) -> SentRequest:
    """The request with the fields that it needs. Raises FetchError for what cannot be sent."""
    if _TOKEN.fullmatch(request.method) is None:
        msg = f"{request.method!r} is no method."
        raise FetchError(msg)
    for name, value in request.fields:
        if _TOKEN.fullmatch(name) is None or _UNFIT_VALUE.search(value):
            msg = f"{name[:60]!r} with {value[:60]!r} is no field that can be sent."
            raise FetchError(msg)
    wanted: list[FieldLine] = [
        ("Host", target.authority),
        ("User-Agent", f"holdfast-inspect/{__version__}"),
        ("Accept", "*/*"),
        ("Connection", "close"),
    ]
    if (request.body or request.method not in _WITHOUT_BODY) and not request.has("transfer-encoding"):
        wanted.append(("Content-Length", str(len(request.body))))
    added = [(name, value) for name, value in wanted if not request.has(name)]
    return msgspec.structs.replace(request, url=target.url, fields=(*added, *request.fields), version="1.1")


def _exchanged(
    wire: Wire, request: SentRequest, target: Target, limits: FetchLimits, clock: Callable[[], datetime]
) -> Exchange:
    lines = [f"{request.method} {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in request.fields)]
    head = "".join(f"{line}\r\n" for line in [*lines, ""])
    try:
        raw = head.encode("latin-1")
    except UnicodeEncodeError:
        raw = head.encode("utf-8")
    was_sent = _send(wire, raw, request)
    reader = io.BufferedReader(wire)
    interim: list[ReceivedResponse] = []
    try:
        while True:
            came = read_head(reader)
            if came is None:
                raise FetchError(_silence(wire, target))
            if not came.is_interim:
                break
            interim.append(_received(came, Content(b"")))
            if len(interim) > _MOST_INTERIM:
                msg = f"{target.host} sends one interim response after the other, and no other."
                raise FetchError(msg)
    except HeadError as error:
        raise FetchError(str(error)) from error
    received_at, answered_s = clock(), wire.deadline.spent_s
    content = read_content(reader, came, request.method, limits.most_bytes)
    after = _after(wire, reader, came, content, request.method)
    response = _received(came, content, after)
    if wire.ended in {"deadline", "most"}:
        kept = tuple(each for each in response.faults if each.code not in _OF_A_CUT)
        response = msgspec.structs.replace(response, faults=kept)
    return Exchange(
        response=response,
        request=request,
        received_at=received_at,
        interim=tuple(interim),
        answered_s=answered_s,
        body_was_sent=was_sent,
    )


def _send(wire: Wire, head: bytes, request: SentRequest) -> bool | None:
    """Send it, the body until a response comes; whether all of it was sent, None without a body."""
    if not request.body:
        _send_all(wire, head)
        return None
    if (request.field("expect") or "").lower() != "100-continue":
        # In one piece with the head where it is short, as clients do.
        if len(request.body) <= _PIECE:
            return _send_all(wire, head + request.body)
        return _send_all(wire, head) and _send_all(wire, request.body, heeds_answer=True)
    if not _send_all(wire, head):
        return False
    wire.wait(_EXPECT_S)
    return _send_all(wire, request.body, heeds_answer=True)


def _send_all(wire: Wire, data: bytes, *, heeds_answer: bool = False) -> bool:
    """Send it all; False where the other side would not have it, or has answered before (`heeds_answer`)."""
    left = memoryview(data)
    while left:
        if wire.deadline.left_s <= 0:
            return False
        if heeds_answer and _is_answered(wire):
            return False
        try:
            left = left[wire.send(left[:_PIECE]) :]
        except (OSError, ssl.SSLError):
            return False  # it may have answered all the same
    return True


def _is_answered(wire: Wire) -> bool:
    """True once more than interim responses has come, or nothing will any more."""
    wire.wait(0)
    rest = wire.peeked
    while _INTERIM.match(rest) is not None:
        rest = rest.partition(b"\r\n\r\n")[2]
    return bool(rest or wire.ended)


def _silence(wire: Wire, target: Target) -> str:
    if wire.ended == "deadline":
        return f"{target.host} sent no response within {wire.deadline.seconds:g} seconds."
    if wire.ended == "reset":
        return f"{target.host} reset the connection without a response."
    return f"{target.host} closed the connection without a response."


def _received(head: Head, content: Content, after: tuple[FramingFault, ...] = ()) -> ReceivedResponse:
    return ReceivedResponse(
        version=head.version,
        status=head.status,
        reason=head.reason,
        fields=head.fields,
        body=content.body,
        body_is_whole=content.is_whole,
        faults=(*head.faults, *faults_of_fields(head), *content.faults, *after),
    )


def _after(
    wire: Wire, reader: io.BufferedReader[Wire], head: Head, content: Content, method: str
) -> tuple[FramingFault, ...]:
    """What is wrong with what comes after the end of the response."""
    if not content.is_whole or head.status == 101 or wire.ended:
        excess = b"" if head.status == 101 or not content.is_whole else reader.read1(_PIECE)
    else:
        wire.deadline = Deadline(min(_AFTER_S, wire.deadline.left_s))
        excess = reader.read1(_PIECE)
        wire.ended = wire.ended.replace("deadline", "")
    if not excess:
        return ()
    if has_no_content(head.status, method):
        said = f"A {head.status}{' to HEAD' if method == 'HEAD' else ''} has no content, and bytes follow its head: {excess[:40]!r}."
        return (fault("body-not-allowed", said),)
    return (fault("excess-data", f"After the end of the response there is {excess[:40]!r}."),)
