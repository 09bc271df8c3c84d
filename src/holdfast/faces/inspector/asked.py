"""What `POST /api/inspect` is asked, as values.

Owns: the members of the body, and the refusal of what does not fit. Must not know: how anything is inspected.
"""

from __future__ import annotations

from typing import Annotated, Final, Protocol, runtime_checkable

import msgspec
from msgspec import UNSET, Meta, UnsetType

from holdfast.wire.exchange import Request

__all__ = ["LIVE_METHODS", "MOST_BODY_BYTES", "Asked", "RefusedError", "read_asked", "refuse_length"]

MOST_BODY_BYTES: Final = 8 * 1024 * 1024
"""Longest body, in bytes: a HAR file may be as long."""

LIVE_METHODS: Final = ("GET", "HEAD", "OPTIONS", "PROPFIND")
"""What the server asks in the name of others: methods that change nothing (RFC 9110 section 9.2.1, RFC 4918 section 9.1)."""

_JSON: Final = "application/json"
_SECRET: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
_OURS: Final = frozenset(
    {"connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade"}
)


class RefusedError(Exception):
    """The answer is `status`, with a sentence for a person."""

    def __init__(self, status: int, detail: str, *fields: tuple[str, str]) -> None:
        """Remember what the answer says."""
        super().__init__(detail)
        self.status = status
        self.fields = fields


@runtime_checkable
class _Readable(Protocol):
    """An upload whose bytes can be had."""

    @property
    def length(self) -> int: ...

    def read(self) -> bytes: ...


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of `response`, `har` and `url`, and what is known or wanted beside."""

    response: str | UnsetType = UNSET
    """A response as text: what `curl -i` writes."""
    har: msgspec.Raw | UnsetType = UNSET
    """A HAR file: an object, or its text as a string."""
    url: Annotated[str, Meta(max_length=8192)] | UnsetType = UNSET
    """To be asked by the server, where it is allowed to."""
    method: Annotated[str, Meta(max_length=64)] = ""
    """The request's method: that of `response`, or for `url`."""
    fields: Annotated[list[tuple[str, str]], Meta(max_length=50)] = []
    """For `url`: names and values of the request's fields."""
    follow: bool = False
    """For `url`: follow redirects."""
    all: bool = False
    """Every response, not only the last one; of `har` not only 207 and those of 400 and above."""

    def har_bytes(self) -> bytes:
        """The HAR file's text."""
        if self.har is UNSET:
            return b""
        raw = bytes(self.har)
        return msgspec.json.decode(raw, type=str).encode("utf-8", "surrogatepass") if raw[:1] == b'"' else raw


def refuse_length(head: Request) -> None:
    """Refuse a body by the length that is announced. Raises RefusedError."""
    length = head.headers.get(b"content-length") or "0"
    if not (length.isdecimal() and len(length) < 10 and int(length) <= MOST_BODY_BYTES):
        raise _too_large()


def read_asked(request: Request) -> Asked:
    """The body. Raises RefusedError: 415 for another type, 413 for too much, 400 for no JSON, 422 for what does not fit."""
    # Asked for also because a page of another site cannot send it without being allowed to (cross-site requests).
    media_type = (request.headers.get(b"content-type") or "").partition(";")[0].strip().lower()
    if media_type != _JSON:
        raise RefusedError(415, f"The body must be {_JSON}.", ("Accept", _JSON))
    body = request.body
    if not isinstance(body, bytes):
        if body.length > MOST_BODY_BYTES or not isinstance(body, _Readable):
            raise _too_large()
        body = body.read()
    try:
        asked = msgspec.json.decode(body, type=Asked)
    except msgspec.ValidationError as error:
        raise RefusedError(422, f"{error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RefusedError(400, "The body is not well-formed JSON in UTF-8.") from None
    given = [name for name in ("response", "har", "url") if getattr(asked, name) is not UNSET]
    if len(given) != 1:
        raise RefusedError(422, "The body must have one of the members response, har and url.")
    if asked.url is not UNSET:
        _check_live(asked)
    return asked


def _check_live(asked: Asked) -> None:
    """No credentials go out, nothing is changed, and nothing of the framing is somebody's choice."""
    if asked.method and asked.method not in LIVE_METHODS:
        said = f"The server itself asks with {', '.join(LIVE_METHODS)} only; `holdfast inspect -X {asked.method[:20]} URL` asks from your machine."
        raise RefusedError(422, said)
    for name, _ in asked.fields:
        if name.lower() in _SECRET:
            raise RefusedError(422, f"The server sends no credentials for others: leave {name} out.")
        if name.lower() in _OURS:
            raise RefusedError(422, f"The field {name} cannot be chosen.")


def _too_large() -> RefusedError:
    return RefusedError(413, f"The body is larger than {MOST_BODY_BYTES} bytes, the most that is taken here.")
