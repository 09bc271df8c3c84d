"""Probes with requests that nobody sends in good faith, small ones: a server refuses them, and goes on.

They come last: a server with a fault may hang or fall over.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from holdfast.inspector.notes import Level, rfc
from holdfast.inspector.probing.probe import probe
from holdfast.inspector.probing.reply import Reply
from holdfast.inspector.probing.room import Room, lockinfo
from holdfast.inspector.probing.wire import NoAnswerError

__all__ = ["absurd_timeouts", "deep_owner", "entity_bomb", "external_entity", "malformed_body", "unknown_entity"]

_TIMEOUTS: Final = (
    "Second-4294967295",
    "Second-4294967296",
    "Second-99999999999999999999999999",
    "Second-0",
    "Second--1",
    "Second-",
    "Soon",
    "",
    ", ,",
    "Extended, Second-60",
    "Infinite, Second-4100000000",
)


def _survives(room: Room, what: str, reply: Reply | None, level: Level = Level.WARN) -> bool:
    """Expect an answer that is no accident."""
    if reply is None:
        room.unanswered(f"no answer came to {what}")
        return False
    return room.expect(not reply.is_accident, f"{what} was answered {reply.status}", reply, level)


def _lock(room: Room, doc: str, body: bytes | None = None, timeout: str | None = None) -> Reply | None:
    try:
        return room.creator.lock(doc, body=body, timeout=timeout)
    except NoAnswerError:
        return None


def _document(owner: str, declaration: str) -> bytes:
    whole = lockinfo(owner=owner).decode()
    return whole.replace("?>\n", f"?>\n<!DOCTYPE lockinfo [{declaration}]>\n", 1).encode()


@probe(Level.BAD, rfc(4918, "10.7"), is_rough=True)
def absurd_timeouts(room: Room) -> None:
    """No Timeout field makes a LOCK fail by an accident, the RFC's own `Infinite, Second-4100000000` included."""
    doc = room.document()
    for asked in _TIMEOUTS:
        reply = _lock(room, doc, timeout=asked)
        if not _survives(room, f"LOCK with Timeout: {asked}", reply, Level.BAD):
            return
        if reply is not None and reply.token:
            room.creator.unlock(doc, reply.token)


@probe(Level.BAD, rfc(4918, "8.2"), is_rough=True)
def malformed_body(room: Room) -> None:
    """A LOCK whose body is no lockinfo is refused, by no accident, and makes no lock."""
    doc = room.document()
    bodies = (
        b"<D:lockinfo",
        b"not XML at all",
        lockinfo()[:-5],
        b'<?xml version="1.0"?><other/>',
        b"\xff\xfe\x00",
        lockinfo("sideways"),
    )
    for body in bodies:
        reply = _lock(room, doc, body=body)
        if _survives(room, f"LOCK with the body {body[:20]!r}", reply) and reply is not None:
            room.expect(not reply.took_effect, f"a LOCK with the body {body[:20]!r} was granted", reply)
            if reply.took_effect and reply.token:
                room.creator.unlock(doc, reply.token)
    shown = room.creator.propfind(doc)
    room.expect(not shown.locks, "a LOCK with a malformed body has left a lock", shown)


@probe(Level.WARN, rfc(4918, "20.6"), is_rough=True)
def unknown_entity(room: Room) -> None:
    """An entity that nobody has declared is refused, by no accident."""
    _survives(room, "LOCK with an undeclared entity", _lock(room, room.document(), body=lockinfo(owner="&nobody;")))


@probe(Level.BAD, rfc(4918, "20.6"), is_rough=True)
def entity_bomb(room: Room) -> None:
    """Entities within entities are not expanded: ten thousand words out of four lines.

    Four lines more, and they fill the server's memory.
    """
    doc = room.document()
    names = "abcd"
    declared = '<!ENTITY a "lol">' + "".join(
        f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in pairwise(names)
    )
    reply = _lock(room, doc, body=_document("&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;", declared))
    if _survives(room, "LOCK with entities within entities", reply) and reply is not None:
        shown = room.creator.propfind(doc)
        is_expanded = any(b"lol" * 1000 in one.body for one in (reply, shown))
        room.expect(not is_expanded, "entities within entities were expanded, and shown in the owner", shown)


@probe(Level.BAD, rfc(4918, "20.6"), is_rough=True)
def external_entity(room: Room) -> None:
    """An external entity is not fetched.

    It would show the server's own files to whoever may lock.
    """
    doc = room.document()
    reply = _lock(room, doc, body=_document("&x;", '<!ENTITY x SYSTEM "file:///etc/hosts">'))
    if _survives(room, "LOCK with an external entity", reply) and reply is not None:
        shown = room.creator.propfind(doc)
        is_read = any(b"localhost" in one.body and b"127." in one.body for one in (reply, shown))
        room.expect(not is_read, "the server has shown a file of its own, /etc/hosts, in the owner", shown)


@probe(Level.BAD, rfc(4918, "20"), is_rough=True)
def deep_owner(room: Room) -> None:
    """An owner of two thousand elements within each other does no harm."""
    doc = room.document()
    _survives(
        room, "LOCK with a deeply nested owner", _lock(room, doc, body=lockinfo(owner="<x>" * 2000 + "</x>" * 2000))
    )
    try:
        shown = room.creator.propfind(doc)
    except NoAnswerError:
        room.unanswered("after a LOCK with a deeply nested owner PROPFIND is not answered")
        return
    room.expect(
        not shown.is_accident, f"after a LOCK with a deeply nested owner PROPFIND was answered {shown.status}", shown
    )
