"""Diagnosis: what a simulated answer says about the request it answers and the status it has.

Owns: those values, and which of a request's fields are withheld. Must not know: how they are written down.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, Protocol, runtime_checkable

import msgspec
from msgspec import UNSET, UnsetType

from holdfast.wire.exchange import Headers, Request
from holdfast.wire.statuses import StatusInfo

__all__ = [
    "WITHHELD",
    "BodySeen",
    "Diagnosis",
    "LockSeen",
    "RequestSeen",
    "RetrySeen",
    "StatusSeen",
    "Turn",
    "body_bytes",
    "see_request",
    "see_status",
]

WITHHELD: Final = "(withheld)"
"""What stands in the place of a value that may be a secret."""

# What a browser or a proxy adds by itself, so that a page of another site could read it here (CORS lets it read answers).
_SECRET: Final = re.compile(
    r"authori[sz]ation|cookie|token|secret|password|passwd|api-?key|jwt|session|credential|assertion|signature"
)
_OPEN: Final = frozenset({"lock-token"})
"""A field that is called like a secret, which only a client that knows the secret ever sends."""

_LEFT_OUT_OF_PARTS: Final = frozenset({"range", "if-range"})


@runtime_checkable
class _Staged(Protocol):
    """An upload that can be read back."""

    @property
    def length(self) -> int: ...

    def read(self) -> bytes: ...


class BodySeen(msgspec.Struct, frozen=True):
    """The request's body: bytes, and the digest of them in hexadecimal."""

    size: int
    sha256: str


class RequestSeen(msgspec.Struct, frozen=True):
    """The request as it came; `client` is the address at the other end of the connection."""

    method: str
    url: str
    fields: dict[str, str]
    body: BodySeen
    client: str


class RetrySeen(msgspec.Struct, frozen=True):
    """Whether to send again."""

    advice: str
    sentence: str


class StatusSeen(msgspec.Struct, frozen=True, rename={"status_class": "class"}):
    """The status in words."""

    code: int
    phrase: str
    meaning: str
    status_class: str
    registered: bool
    cacheable: bool
    retry: RetrySeen
    source: str
    page: str


class Turn(msgspec.Struct, frozen=True):
    """Which turn of a sequence the answer is: `turn` counts from 1, and `state` is where it is looked at and reset."""

    key: str
    pattern: str
    turn: int
    state: str


class LockSeen(msgspec.Struct, frozen=True):
    """The real lock that the request asks about: whether it is `held`, or how it `ended`; `state` is where it is managed."""

    key: str
    held: bool
    state: str
    ended: str | UnsetType = UNSET


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """All that is said. `answered` is the final status, where `status` is an interim one."""

    simulated: bool = True
    status: StatusSeen
    request: RequestSeen
    answered: int | UnsetType = UNSET
    sequence: Turn | UnsetType = UNSET
    lock: LockSeen | UnsetType = UNSET
    link: str | UnsetType = UNSET
    """Where to go on, for a status that says so in its content (300, 3xx, 511)."""


def see_status(info: StatusInfo) -> StatusSeen:
    """What is said of a status."""
    return StatusSeen(
        code=info.code,
        phrase=info.phrase,
        meaning=info.meaning,
        status_class=info.status_class.value,
        registered=info.is_registered,
        cacheable=info.is_heuristically_cacheable,
        retry=RetrySeen(info.retry.advice.value, info.retry.sentence),
        source=str(info.source),
        page=f"/simulator/{info.code}",
    )


def see_request(request: Request, body: bytes, *, is_part: bool) -> RequestSeen:
    """What is said of a request. With `is_part` what it says about ranges is left out, so that the parts of one whole fit."""
    host = request.headers.get(b"host") or ""
    query = f"?{request.query}" if request.query else ""
    fields = {
        name: value for name, value in _shown(request.headers).items() if not (is_part and name in _LEFT_OUT_OF_PARTS)
    }
    return RequestSeen(
        # The head of an answer to HEAD is that to GET, its length included (RFC 9110 section 9.3.2).
        method="GET" if request.method == "HEAD" else request.method,
        url=f"{request.scheme}://{host}{request.target}{query}",
        fields=fields,
        body=BodySeen(len(body), hashlib.sha256(body).hexdigest()),
        client=request.client,
    )


def body_bytes(request: Request, most: int) -> bytes | None:
    """The request's body; None where it has more than `most` bytes. Raises OSError where a staged one cannot be read."""
    body = request.body
    if isinstance(body, bytes):
        return body if len(body) <= most else None
    return body.read() if isinstance(body, _Staged) and body.length <= most else None


def _shown(headers: Headers) -> dict[str, str]:
    shown: dict[str, str] = {}
    for raw in headers.fields:
        name = raw.decode("latin-1")
        is_secret = _SECRET.search(name) is not None and name not in _OPEN
        shown[name] = WITHHELD if is_secret else headers.get(raw) or ""
    return shown
