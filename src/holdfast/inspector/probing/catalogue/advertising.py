"""Probes of what a server says of its locks: the DAV field, supportedlock, lockdiscovery."""

from __future__ import annotations

from holdfast.inspector.notes import Level, rfc
from holdfast.inspector.probing.probe import NotApplicableError, UndecidedError, probe
from holdfast.inspector.probing.reply import Reply
from holdfast.inspector.probing.room import Room

__all__ = [
    "activelock_seen_by_all",
    "class_two_locks",
    "dav_field",
    "lockdiscovery",
    "lockdiscovery_protected",
    "supportedlock",
]


def _classes(reply: Reply) -> set[str]:
    return {word.strip() for word in reply.field("dav").split(",")}


@probe(Level.BAD, rfc(4918, "10.1"))
def dav_field(room: Room) -> None:
    """OPTIONS on a collection and on a document says `DAV: 1, 2`.

    Finder mounts a server without class 2 read-only; other clients do not even try to lock.
    """
    for path in (room.folder, room.document()):
        reply = room.creator.send("OPTIONS", path)
        if not room.expect(reply.status in {200, 204}, f"OPTIONS was answered {reply.status}", reply):
            continue
        for number in ("1", "2"):
            told = reply.field("dav")
            room.expect(number in _classes(reply), f"OPTIONS says DAV: {told or '(nothing)'}, without {number}", reply)


@probe(Level.BAD, rfc(4918, "18.2"), needs=())
def class_two_locks(room: Room) -> None:
    """Whoever advertises class 2 grants a lock.

    A client that is promised locks and gets none opens the document read-only, or not at all.
    """
    doc = room.document()
    if "2" not in _classes(room.creator.send("OPTIONS", doc)):
        raise NotApplicableError("the server does not advertise class 2")
    reply = room.creator.lock(doc)
    room.expect(reply.status in {200, 201}, f"LOCK on an unlocked document was answered {reply.status}", reply)


@probe(Level.BAD, rfc(4918, "6.7"))
def supportedlock(room: Room) -> None:
    """The property supportedlock lists a scope and a type for each kind of lock.

    Clients read it to learn whether they may lock.
    """
    reply = room.creator.propfind(room.document(), "supportedlock")
    if not room.expect(reply.status == 207, f"PROPFIND was answered {reply.status}", reply):
        return
    entries = reply.named("lockentry")
    room.expect(entries, "supportedlock is missing or empty", reply)
    for entry in entries:
        names = {child.name for child in entry.elements()}
        room.expect({"lockscope", "locktype"} <= names, "a lockentry lacks its lockscope or its locktype", reply)


@probe(Level.BAD, rfc(4918, "15.8"))
def lockdiscovery(room: Room) -> None:
    """The property lockdiscovery is there and empty without a lock, and shows the lock while there is one."""
    doc = room.document()
    before = room.creator.propfind(doc)
    room.expect(before.shows_discovery, "lockdiscovery is missing on a document without a lock", before)
    room.expect(not before.locks, "lockdiscovery shows a lock on a document that was never locked", before)
    held = room.creator.held(doc)
    during = room.creator.propfind(doc)
    room.expect(len(during.locks) == 1, f"lockdiscovery shows {len(during.locks)} locks where there is one", during)
    room.expect(held.token in {lock.token for lock in during.locks} | {""}, "lockdiscovery shows another token", during)
    room.creator.unlock(doc, held.token)
    after = room.creator.propfind(doc)
    room.expect(not after.locks, "lockdiscovery still shows the lock after UNLOCK", after)


@probe(Level.BAD, rfc(4918, "15.8"))
def activelock_seen_by_all(room: Room) -> None:
    """Somebody else sees that there is a lock.

    Token and owner may be hidden, the activelock itself may not: people want to know who is in the way.
    """
    doc = room.document()
    room.creator.held(doc)
    seen = room.other.propfind(doc)
    room.expect(seen.locks, "lockdiscovery shows no lock to somebody who does not hold it", seen)


@probe(Level.BAD, rfc(4918, "15.8"))
def lockdiscovery_protected(room: Room) -> None:
    """PROPPATCH cannot set lockdiscovery.

    Otherwise anybody makes clients believe in a lock, or in none.
    """
    doc = room.document()
    reply = room.creator.proppatch(doc, "<D:lockdiscovery/>")
    if reply.status >= 500:
        msg = f"PROPPATCH was answered {reply.status}"
        raise UndecidedError(msg)
    if reply.status in {405, 501}:
        raise NotApplicableError("the server has no PROPPATCH")
    if room.refused(reply, "lockdiscovery was set by PROPPATCH"):
        is_told = "cannot-modify-protected-property" in reply.conditions
        room.expect(is_told, "the refusal lacks cannot-modify-protected-property", reply, Level.WARN)
