"""The versions that the caller has read, and the conditions under which a change may be sent after a wait.

Owns: what of each URL the caller last read (its entity tag, or that there was nothing), and which condition makes a
late change safe. Must not know: locks, waiting, the network.

Whoever waited for a lock waited for somebody who was writing. A PUT that is simply sent again would undo that, so it
goes out with `If-Match` and the version that its author read; then the server refuses it (412) if there is a newer one.

What was read is remembered for the flow of control that read it, in a context variable: for a thread, or for a task and
the tasks that it starts. Versions that *others* read over the same client do not count, for their author's version is not this one's.
A weak tag is sent without its mark: where the server still says "weak" it refuses, which is safe.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final, TypeAlias
from urllib.parse import urldefrag, urljoin

from holdfast.client.errors import ClientError
from holdfast.client.exchange import ClientRequest, Headers

__all__ = ["ABSENT", "Absent", "UnknownVersionError", "Version", "condition_for", "remember", "version_of"]

MOST_REMEMBERED: Final = 256
"""URLs whose version one flow of control remembers; the ones not read for longest are forgotten first."""


class Absent(enum.Enum):
    """The type of ABSENT, the version of a URL at which nothing was."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT

Version: TypeAlias = str | Absent
"""An entity tag as it stands in an ETag field, or ABSENT."""

_NOTHING_READ: Final[Mapping[str, Version]] = {}
_READ: ContextVar[Mapping[str, Version]] = ContextVar("holdfast_versions_read", default=_NOTHING_READ)

_REPLACES: Final = frozenset({"PUT", "PATCH", "DELETE"})
_REPLACES_DESTINATION: Final = frozenset({"MOVE", "COPY"})
_CONDITIONS: Final = ("if-match", "if-none-match", "if-unmodified-since")


class UnknownVersionError(ClientError):
    """A change was refused as locked, and must not be sent again blindly: it could undo what the lock's holder writes.

    Nothing was waited for. `__cause__` is the LockedError.

    >>> UnknownVersionError("PUT", "/dav/plan.odt").resource
    '/dav/plan.odt'
    """

    def __init__(self, method: str, resource: str) -> None:
        super().__init__(method, resource)
        self.method = method
        self.resource = resource

    def __str__(self) -> str:
        return (
            f"{self.method} {self.resource} would be sent after a wait without the version it is based on, and could "
            "undo what the lock's holder has written: read it first with the same client, send If-Match, or allow it with "
            "WaitPolicy(stale=Stale.OVERWRITE)"
        )


def remember(request: ClientRequest, status: int, headers: Headers) -> None:
    """Take note of what an answer tells of the version of its URL; only final answers of the resource itself count."""
    url, method = urldefrag(request.url).url, request.method
    if method in {"GET", "HEAD"}:
        if status in {404, 410}:
            _note(url, ABSENT)
        elif status in {200, 206, 304}:
            _note(url, headers.get("etag"))
    elif 200 <= status < 300 and status != 207:
        if method in _REPLACES:
            _note(url, ABSENT if method == "DELETE" else headers.get("etag"))
        elif method in _REPLACES_DESTINATION:
            if method == "MOVE":
                _note(url, ABSENT)
            _note(_destination(request), None)


def version_of(url: str) -> Version | None:
    """The version of `url` that this flow of control read last; None where it did not read it, or it had none."""
    return _READ.get().get(urldefrag(url).url)


def condition_for(request: ClientRequest, stated: Version | None = None) -> dict[str, str] | None:
    """The fields that make `request` safe to send after a wait; None where it could undo what it never saw.

    `stated` is the version that the caller names, which comes before what is remembered. A request that
    has a condition already, or that replaces nothing, needs none.

    >>> condition_for(ClientRequest(method="PUT", url="http://dav.example/a"), '"v1"')
    {'If-Match': '"v1"'}
    """
    fields = request.headers
    if any(name in fields for name in _CONDITIONS) or "[" in fields.get("if", ""):
        return {}
    if request.method in _REPLACES_DESTINATION:
        return _for_destination(request, stated)
    version = stated if stated is not None else version_of(request.url) if request.method in _REPLACES else None
    if version is None:
        return None if request.method in _REPLACES else {}
    return {"If-None-Match": "*"} if version is ABSENT else {"If-Match": _strong(version)}


def _for_destination(request: ClientRequest, stated: Version | None) -> dict[str, str] | None:
    """MOVE and COPY replace what is at their Destination, whose version an If header can name (RFC 4918 section 10.4)."""
    fields = request.headers
    if fields.get("overwrite", "").strip().upper() == "F":
        return {}
    destination = _destination(request)
    version = stated if stated is not None else version_of(destination)
    if version is ABSENT:
        return {"Overwrite": "F"}
    # Lists for other resources are alternatives, so none can be added to an If header that is there.
    if version is None or not destination or "if" in fields:
        return None
    return {"If": f"<{destination}> ([{_strong(version)}])"}


def _destination(request: ClientRequest) -> str:
    field = request.headers.get("destination", "").strip()
    try:
        return urldefrag(urljoin(request.url, field)).url if field and field.isprintable() and ">" not in field else ""
    except ValueError:
        return ""


def _strong(tag: str) -> str:
    return tag.strip().removeprefix("W/")


def _note(url: str, version: Version | None) -> None:
    known = dict(_READ.get())
    known.pop(url, None)
    if version is not None and url:
        known[url] = version
        while len(known) > MOST_REMEMBERED:
            del known[next(iter(known))]
    _READ.set(known)
