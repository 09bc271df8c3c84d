"""Probes of which locks exclude each other (RFC 4918 section 9.10.5)."""

from __future__ import annotations

from holdfast.inspector.notes import Level, rfc
from holdfast.inspector.probing.probe import Need, NotApplicableError, probe
from holdfast.inspector.probing.reply import path_of
from holdfast.inspector.probing.room import Room

__all__ = [
    "exclusive_after_exclusive",
    "exclusive_after_own",
    "exclusive_after_shared",
    "infinity_conflict",
    "infinity_conflict_status",
    "lock_inside_locked_tree",
    "shared_after_exclusive",
    "shared_after_shared",
]

_BOTH = (Need.LOCKS, Need.SHARED)


def _second_lock(room: Room, first: str, second: str) -> None:
    doc = room.document()
    room.creator.held(doc, first)
    room.refused(
        room.other.lock(doc, second), f"a second lock ({second}) was granted beside one that is held ({first})"
    )


@probe(Level.BAD, rfc(4918, "9.10.5"))
def exclusive_after_exclusive(room: Room) -> None:
    """A second exclusive lock is refused.

    Without that nothing is locked at all: two people edit, and one of them loses his work.
    """
    _second_lock(room, "exclusive", "exclusive")


@probe(Level.BAD, rfc(4918, "9.10.5"))
def exclusive_after_own(room: Room) -> None:
    """A second exclusive lock is refused also to whoever holds the first.

    It may be another program of the same person.
    """
    doc = room.document()
    room.creator.held(doc)
    room.refused(room.creator.lock(doc), "the same principal was granted a second exclusive lock without the token")


@probe(Level.BAD, rfc(4918, "9.10.5"), needs=_BOTH)
def shared_after_exclusive(room: Room) -> None:
    """A shared lock is refused beside an exclusive one."""
    _second_lock(room, "exclusive", "shared")


@probe(Level.BAD, rfc(4918, "9.10.5"), needs=_BOTH)
def exclusive_after_shared(room: Room) -> None:
    """An exclusive lock is refused beside a shared one."""
    _second_lock(room, "shared", "exclusive")


@probe(Level.WARN, rfc(4918, "9.10.5"), needs=_BOTH)
def shared_after_shared(room: Room) -> None:
    """A second shared lock is granted, with a token of its own."""
    doc = room.document()
    held = room.creator.held(doc, "shared")
    reply = room.other.lock(doc, "shared")
    if room.allowed(reply, "a second shared lock was refused"):
        room.expect(reply.token != held.token, "two shared locks have one token", reply, Level.BAD)


@probe(Level.BAD, rfc(4918, "6.1"))
def lock_inside_locked_tree(room: Room) -> None:
    """A member of a tree that is locked exclusively cannot be locked by somebody else."""
    coll = room.collection()
    doc = room.document("collection/member.txt")
    room.creator.held(coll, depth="infinity")
    room.refused(room.other.lock(doc), "a member of a locked tree was locked by somebody else")


@probe(Level.BAD, rfc(4918, "9.10.3"))
def infinity_conflict(room: Room) -> None:
    """A tree with a locked member cannot be locked, and no part of it stays locked by the attempt."""
    coll = room.collection()
    member = room.document("collection/member.txt")
    free = room.document("collection/free.txt")
    room.creator.held(member)
    reply = room.other.lock(coll, depth="infinity")
    room.refused(reply, "a tree was locked although a member of it is locked by somebody else")
    if reply.took_effect:
        return
    shown = room.creator.propfind(free)
    room.expect(not shown.locks, "the refused lock of the tree has left a lock on a member", shown)
    room.allowed(room.creator.put(free), "after the refused lock of the tree a free member could not be written")


@probe(Level.WARN, rfc(4918, "9.10.3"))
def infinity_conflict_status(room: Room) -> None:
    """The refusal to lock a tree is 207 or 423, and tells which member is in the way."""
    coll = room.collection()
    member = room.document("collection/member.txt")
    room.creator.held(member)
    reply = room.other.lock(coll, depth="infinity")
    if reply.took_effect:
        raise NotApplicableError("the tree was locked (see infinity-conflict)")
    if not room.expect(reply.status in {207, 423}, f"the refusal is {reply.status}, not 207 or 423", reply):
        return
    named = {path for path, status in reply.statuses.items() if status == 423}
    named |= set(reply.hrefs("no-conflicting-lock"))
    room.expect(path_of(member) in named, "the refusal does not name the member that is locked", reply)
