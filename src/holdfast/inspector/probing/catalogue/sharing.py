"""Probes of shared locks: each holder writes with his own token, and nobody else does."""

from __future__ import annotations

from holdfast.inspector.notes import Level, rfc
from holdfast.inspector.probing.probe import Need, NotApplicableError, probe
from holdfast.inspector.probing.room import Held, Room

__all__ = ["shared_holders_write", "shared_keeps_others_out", "shared_unlock_one"]

_SHARED = (Need.LOCKS, Need.SHARED)


def _both(room: Room) -> tuple[Held, Held]:
    doc = room.document()
    mine = room.creator.held(doc, "shared")
    reply = room.other.lock(doc, "shared")
    if not reply.took_effect or not reply.token:
        raise NotApplicableError("a second shared lock was refused (see shared-after-shared)")
    return mine, Held(doc, reply.token, reply)


@probe(Level.BAD, rfc(4918, "6.2"), needs=_SHARED)
def shared_holders_write(room: Room) -> None:
    """Each of two holders of a shared lock writes with his own token alone.

    A server that asks for both tokens lets the two lock each other out.
    """
    mine, theirs = _both(room)
    room.allowed(room.creator.put(mine.path, if_=mine.submitted), "the first of two shared holders cannot write")
    room.allowed(room.other.put(mine.path, if_=theirs.submitted), "the second of two shared holders cannot write")


@probe(Level.BAD, rfc(4918, "7.5"), needs=_SHARED)
def shared_keeps_others_out(room: Room) -> None:
    """Whoever holds no shared lock does not write."""
    doc = room.document()
    room.creator.held(doc, "shared")
    room.refused(room.other.put(doc), "somebody without a token wrote a document that is locked (shared)")


@probe(Level.BAD, rfc(4918, "6.2"), needs=_SHARED)
def shared_unlock_one(room: Room) -> None:
    """UNLOCK of one of two shared locks leaves the other."""
    mine, theirs = _both(room)
    room.allowed(room.creator.unlock(mine.path, mine.token), "UNLOCK of one of two shared locks was refused")
    room.kept_out(room.creator.put(mine.path), "after UNLOCK of one of two shared locks anybody can write")
    room.allowed(room.other.put(mine.path, if_=theirs.submitted), "the holder who stayed cannot write")
