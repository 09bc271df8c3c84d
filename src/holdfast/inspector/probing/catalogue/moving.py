"""Probes of MOVE and COPY with locks at either end (RFC 4918 section 7.6)."""

from __future__ import annotations

from holdfast.inspector.notes import Level, rfc
from holdfast.inspector.probing.probe import NotApplicableError, probe
from holdfast.inspector.probing.room import Room

__all__ = ["lock_stays_behind", "locked_into_locked", "move_asks_both", "moved_out_is_free"]


@probe(Level.BAD, rfc(4918, "7.6"))
def lock_stays_behind(room: Room) -> None:
    """A lock does not move with its document, and does not stay where nothing is left.

    Otherwise a new document at the old place is locked by somebody who knows nothing of it.
    """
    held = room.creator.held(room.document())
    to = room.path("moved.txt")
    if not room.creator.move(held.path, to, if_=held.tagged).took_effect:
        raise NotApplicableError("MOVE with the token was refused (see holder-deletes)")
    shown = room.creator.propfind(to)
    room.expect(not shown.locks, "the lock has moved with its document", shown)
    room.allowed(room.other.put(to), "a moved document could not be written")
    room.allowed(room.other.put(held.path), "the place that a locked document was moved from is still locked")


@probe(Level.BAD, rfc(4918, "7.5"))
def move_asks_both(room: Room) -> None:
    """MOVE from a locked document onto another locked one asks for both tokens."""
    source = room.creator.held(room.document("source.txt", b"source"))
    target = room.creator.held(room.document("target.txt", b"target"))
    for held, missing in ((source, "destination"), (target, "source")):
        reply = room.creator.move(source.path, target.path, if_=held.tagged)
        if not room.refused(reply, f"MOVE succeeded without the token of its locked {missing}"):
            return
    reply = room.creator.move(source.path, target.path, if_=f"{source.tagged} {target.tagged}")
    room.allowed(reply, "MOVE with the tokens of its source and its destination was refused")


@probe(Level.BAD, rfc(4918, "6.1"))
def moved_out_is_free(room: Room) -> None:
    """What is moved out of a locked tree is no longer locked."""
    coll = room.collection()
    doc = room.document("collection/member.txt")
    held = room.creator.held(coll, depth="infinity")
    out = room.path("outside.txt")
    if room.allowed(room.creator.move(doc, out, if_=held.tagged), "the holder could not move a member out of his tree"):
        shown = room.creator.propfind(out)
        room.expect(not shown.locks, "what was moved out of a locked tree still shows its lock", shown)
        room.allowed(room.other.put(out), "what was moved out of a locked tree is still locked")


@probe(Level.BAD, rfc(4918, "7.4"))
def locked_into_locked(room: Room) -> None:
    """A document that somebody else has locked cannot be moved into one's own locked tree."""
    coll = room.collection()
    held = room.creator.held(coll, depth="infinity")
    theirs = room.other.held(room.document("theirs.txt", b"theirs"))
    reply = room.creator.move(theirs.path, room.path("collection/theirs.txt"), if_=held.tagged)
    room.refused(reply, "a document that is locked by somebody else was moved into a locked tree")
