"""Flows that look at a lock without asking for anything that it forbids: until it is free, or to see who has it.

Owns: where a lock can be looked at (its address on a Holdfast server, else lock discovery on its root), how its events are
listened to, and `watch`, which does the cheapest of these until the lock is free. Must not know: what is sent afterwards.
Nothing is ever sent to another origin than the request's own, and credentials go nowhere else.

Theory of operation. The stream of events is opened first, and only then is the lock looked at: an end before the first
piece is seen by the look, an end after it is told by the stream, so none is missed. A stream that breaks is opened anew with
the last id that it told (WHATWG HTML section 9.2). Whatever fails there ends in polling, and what cannot be polled in `BLIND`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import msgspec

from holdfast.client.bodies.dav import active_locks, child, children
from holdfast.client.bodies.found import Asked
from holdfast.client.details import KnownLock, LockedDetails
from holdfast.client.drivers import WaitCancelledError
from holdfast.client.events import EventReader
from holdfast.client.exchange import ClientRequest, ClientResponse, Headers
from holdfast.client.flows import AsyncEventStream, EventStream, Flow, Hear, Hush, Listen, now, send, sleep
from holdfast.client.policy import WaitPolicy, backoff
from holdfast.wire.xmlread import Element, XmlError, parse_xml

__all__ = ["Seen", "Watch", "discover", "lock_address", "look_at", "looked", "same_origin", "watch"]

_ENDS: Final = frozenset({"released", "expired", "broken", "destroyed"})
_PATIENCE_S: Final = 20.0  # a Holdfast server says something every 15 seconds
_SHORTEST_LISTEN_S: Final = 1.0
_AFTER_END_S: Final = 0.05

_DISCOVERY: Final = (
    b'<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop><D:lockdiscovery/></D:prop></D:propfind>'
)
_ADDRESS: Final = re.compile(r"(?P<base>https?://[^?#]*)/api/locks/(?P<id>[A-Za-z0-9_-]{1,64})")
_LINKED: Final = re.compile(r"<([^<>\s]{1,4096})>\s{0,5};[^,<>]{0,200}?\brel=\"?describedby\b", re.IGNORECASE)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

# Fields of the request that are about its own body or target, or would make the look a conditional one.
_NOT_FOR_OTHERS: Final = frozenset(
    {
        "accept", "accept-encoding", "connection", "depth", "destination", "expect", "idempotency-key", "if", "keep-alive",
        "lock-token", "overwrite", "prefer", "range", "te", "timeout", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip


class Watch(enum.Enum):
    """How a watch ended."""

    FREE = "free"
    """The lock is gone, or seems to be."""
    HELD = "held"
    """The time is over and it is still held."""
    BLIND = "blind"
    """It cannot be looked at."""
    SPENT = "spent"
    """The shared budget has nothing left."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at a lock told. `held` is None where nothing could be seen; `remaining` is in seconds."""

    held: bool | None
    remaining: float | None = None
    locks: tuple[KnownLock, ...] = ()


def same_origin(one: str, other: str) -> bool:
    """True where both URLs have the same scheme, host and port (RFC 6454 section 4).

    >>> same_origin("http://dav.example/a", "http://DAV.example:80/b"), same_origin("http://a/", "https://a/")
    (True, False)
    """
    try:
        return _origin(one) == _origin(other)
    except ValueError:
        return False


def lock_address(request: ClientRequest, response: ClientResponse, details: LockedDetails) -> str:
    """The address of the lock to wait for on a Holdfast server, of the one that ends last; empty where there is none."""
    told = sorted(
        (lock for lock in details.locks if lock.about),
        key=lambda lock: float("inf") if lock.remaining is None else lock.remaining,
    )
    linked = [
        _joined(response.url or request.url, match[1])
        for match in _LINKED.finditer(response.headers.get("link", "")[:8192])
    ]
    for address in [*(lock.about for lock in reversed(told)), *linked]:
        if _ADDRESS.fullmatch(address) and same_origin(address, request.url):
            return address
    return ""


def discover(request: ClientRequest, url: str) -> Flow[Seen]:
    """PROPFIND Depth 0 for the locks on `url` (RFC 4918 section 15.8), with the credentials of `request`."""
    if not same_origin(url, request.url):
        return Seen(None)
    fields = [*_shared_fields(request), ("Depth", "0"), ("Content-Type", "application/xml")]
    response = yield from send(ClientRequest(method="PROPFIND", url=url, headers=Headers(fields), body=_DISCOVERY))
    if response.status in {404, 410}:
        return Seen(False)
    if response.status != 207:
        return Seen(None)
    try:
        root = parse_xml(response.body)
    except XmlError:
        return Seen(None)
    discovery = _discovery(root)
    if discovery is None:
        return Seen(None)
    locks = tuple(active.lock for active in active_locks(discovery, Asked(response, response.answered_at), url))
    ends = [lock.remaining for lock in locks]
    known = [end for end in ends if end is not None]
    return Seen(bool(locks), max(known) if known and len(known) == len(ends) else None, locks)


def look_at(request: ClientRequest, address: str) -> Flow[Seen]:
    """GET a lock's address on a Holdfast server, with the credentials of `request`."""
    fields = [*_shared_fields(request), ("Accept", "application/json")]
    response = yield from send(ClientRequest(method="GET", url=address, headers=Headers(fields)))
    if response.status in {404, 410}:
        return Seen(False)
    if response.status != 200:
        return Seen(None)
    try:
        lock = msgspec.json.decode(response.body, type=_Lock)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Seen(None)
    return Seen(True, lock.expires_in)


def watch(
    request: ClientRequest,
    where: str,
    policy: WaitPolicy,
    ends_at: float,
    chance: Callable[[], float],
    *,
    first_delay: float | None = None,
    waits: int = 0,
) -> Flow[Watch]:
    """Wait until the lock at `where` is free: a lock's address (see `lock_address`), or a URL for lock discovery.

    `ends_at` is in seconds of the driver's clock. `first_delay` is what the server asked for before the first look, `waits` how
    often it was waited before, which makes the looks rarer.
    """
    is_address = _ADDRESS.fullmatch(where) is not None
    if is_address and policy.listen:
        outcome = yield from _listen(request, where, policy, ends_at, chance)
        if outcome is not Watch.BLIND:
            return outcome
    look = look_at if is_address else discover
    return (yield from _poll(lambda: look(request, where), policy, ends_at, chance, first_delay, waits))


def _poll(
    look: Callable[[], Flow[Seen]],
    policy: WaitPolicy,
    ends_at: float,
    chance: Callable[[], float],
    first_delay: float | None,
    waits: int,
) -> Flow[Watch]:
    remaining: float | None = None
    while True:
        left = ends_at - (yield from now())
        if left <= 0:
            return Watch.HELD
        delay = backoff(policy, waits=waits, chance=chance())
        if first_delay is not None:
            delay, first_delay = first_delay, None
        elif remaining is not None:
            delay = min(delay, remaining + _AFTER_END_S)
        reserved = policy.budget.reserve((yield from now()), left)
        if reserved is None:
            return Watch.SPENT
        yield from sleep(min(max(delay, reserved), left))
        waits += 1
        seen = yield from looked(look)
        if seen is None:
            continue
        if seen.held is None:
            return Watch.BLIND
        if not seen.held:
            return Watch.FREE
        remaining = seen.remaining


def looked(look: Callable[[], Flow[Seen]]) -> Flow[Seen | None]:
    """A look; None where the network failed, which a server that starts again makes good."""
    try:
        return (yield from look())
    except WaitCancelledError:
        raise
    except Exception:  # noqa: BLE001 - whatever the HTTP library raises; the look is repeated until the deadline
        return None


def _listen(
    request: ClientRequest, address: str, policy: WaitPolicy, ends_at: float, chance: Callable[[], float]
) -> Flow[Watch]:
    """Wait for the event that ends a lock; BLIND where there are none to be had."""
    reader = EventReader()
    failures = 0
    while True:
        left = ends_at - (yield from now())
        if left <= 0:
            return Watch.HELD
        if left < _SHORTEST_LISTEN_S or failures > 3:
            return Watch.BLIND
        reader.begin()
        stream = yield from _opened(request, address, reader.last_id, min(left, _PATIENCE_S))
        if stream is None:
            return Watch.BLIND
        outcome = yield from _heard(request, address, stream, reader, ends_at)
        yield Hush(stream)
        if outcome is not None:
            return outcome
        failures += 1
        left = ends_at - (yield from now())
        if left > 0:
            yield from sleep(min(backoff(policy, waits=failures, chance=chance()), left))


def _opened(
    request: ClientRequest, address: str, last_id: str, patience: float
) -> Flow[EventStream | AsyncEventStream | None]:
    match = _ADDRESS.fullmatch(address)
    assert match is not None
    fields = [*_shared_fields(request), ("Accept", "text/event-stream"), ("Cache-Control", "no-store")]
    if last_id:
        fields.append(("Last-Event-ID", last_id))
    url = f"{match['base']}/api/events?lock={match['id']}&kind={','.join(sorted(_ENDS))}"
    try:
        stream: EventStream | AsyncEventStream | None = yield Listen(
            ClientRequest(method="GET", url=url, headers=Headers(fields)), patience
        )
    except WaitCancelledError:
        raise
    except Exception:  # noqa: BLE001 - whatever the HTTP library raises; it is polled instead
        return None
    if stream is not None and stream.status != 200:
        yield Hush(stream)
        return None
    return stream


def _heard(
    request: ClientRequest,
    address: str,
    stream: EventStream | AsyncEventStream,
    reader: EventReader,
    ends_at: float,
) -> Flow[Watch | None]:
    """What a stream told until it ended; None where it broke before anything was told."""
    has_looked = False
    while True:
        try:
            piece: bytes = yield Hear(stream)
        except WaitCancelledError:
            raise
        except Exception:  # noqa: BLE001 - silence, or a lost connection
            return None
        if not piece:
            return None
        kinds = reader.feed(piece)
        if not _ENDS.isdisjoint(kinds):
            return Watch.FREE
        if not has_looked or "gap" in kinds:
            has_looked = True
            seen = yield from looked(lambda: look_at(request, address))
            if seen is not None and not seen.held:
                return Watch.BLIND if seen.held is None else Watch.FREE
        if (yield from now()) >= ends_at:
            return Watch.HELD


class _Lock(msgspec.Struct, frozen=True):
    """What is read of a lock at its address: the seconds until its end, None where it has none."""

    id: str
    expires_in: float | None = None


def _discovery(root: Element) -> Element | None:
    """The DAV:lockdiscovery that a 207 gives, which a server that does not know it gives under another status than 200."""
    for response in children(root, "response"):
        for part in children(response, "propstat"):
            status, properties = child(part, "status"), child(part, "prop")
            if status is not None and properties is not None and " 200" in status.text():
                found = child(properties, "lockdiscovery")
                if found is not None:
                    return found
    return None


def _shared_fields(request: ClientRequest) -> list[tuple[str, str]]:
    """The fields of `request` that say who asks, for a look at the same origin."""
    return [
        (name, value)
        for name, value in request.headers.items()
        if name not in _NOT_FOR_OTHERS and not name.startswith(("content-", "if-", "x-http-method"))
    ]


def _joined(base: str, href: str) -> str:
    """An absolute URL of a link that has a path only, or is absolute itself; empty for any other."""
    try:
        parts = urlsplit(base)
        return f"{parts.scheme}://{parts.netloc}{href}" if href.startswith("/") and not href.startswith("//") else href
    except ValueError:
        return ""


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _DEFAULT_PORTS.get(scheme)
