"""Probes of locked collections: who may add, change and take away members (RFC 4918 section 7.4)."""

from __future__ import annotations

from holdfast.inspector.notes import Level, rfc
from holdfast.inspector.probing.probe import NotApplicableError, probe
from holdfast.inspector.probing.room import Held, Room

__all__ = [
    "depth_zero_delete",
    "depth_zero_lock_new",
    "depth_zero_mkcol",
    "depth_zero_move_in",
    "depth_zero_move_out",
    "depth_zero_put_new",
    "infinity_delete",
    "infinity_mkcol",
    "infinity_put",
    "infinity_put_new",
    "member_delete_keeps_lock",
    "new_member_is_locked",
]

_OTHER = "somebody without the collection's token"


def _collection(room: Room, depth: str) -> tuple[Held, str]:
    """A locked collection of the creator's with one member."""
    coll = room.collection()
    doc = room.document("collection/member.txt")
    reply = room.creator.lock(coll, depth=depth)
    if not reply.token:
        msg = f"LOCK of a collection was answered {reply.status}"
        raise NotApplicableError(msg)
    return Held(coll, reply.token, reply), doc


@probe(Level.BAD, rfc(4918, "7.4"))
def depth_zero_put_new(room: Room) -> None:
    """A depth-0 lock keeps others from adding a member by PUT."""
    _collection(room, "0")
    room.refused(room.other.put(room.path("collection/new.txt")), f"{_OTHER} added a member by PUT")


@probe(Level.BAD, rfc(4918, "7.4"))
def depth_zero_mkcol(room: Room) -> None:
    """A depth-0 lock keeps others from adding a collection."""
    _collection(room, "0")
    room.refused(room.other.mkcol(room.path("collection/new/")), f"{_OTHER} added a collection")


@probe(Level.BAD, rfc(4918, "7.4"))
def depth_zero_delete(room: Room) -> None:
    """A depth-0 lock keeps others from deleting a member."""
    _, doc = _collection(room, "0")
    room.refused(room.other.delete(doc), f"{_OTHER} deleted a member")


@probe(Level.BAD, rfc(4918, "7.4"))
def depth_zero_move_in(room: Room) -> None:
    """A depth-0 lock keeps others from moving or copying a member in."""
    _collection(room, "0")
    outside = room.document("outside.txt")
    room.refused(room.other.copy(outside, room.path("collection/copied.txt")), f"{_OTHER} copied a member in")
    room.refused(room.other.move(outside, room.path("collection/moved.txt")), f"{_OTHER} moved a member in")


@probe(Level.BAD, rfc(4918, "7.4"))
def depth_zero_move_out(room: Room) -> None:
    """A depth-0 lock keeps others from moving a member out, and from renaming it."""
    _, doc = _collection(room, "0")
    room.refused(room.other.move(doc, room.path("collection/renamed.txt")), f"{_OTHER} renamed a member")
    if room.exists(doc):
        room.refused(room.other.move(doc, room.path("outside.txt")), f"{_OTHER} moved a member out")


@probe(Level.BAD, rfc(4918, "7.4"))
def depth_zero_lock_new(room: Room) -> None:
    """A depth-0 lock keeps others from adding a member by LOCK."""
    _collection(room, "0")
    new = room.path("collection/new.txt")
    reply = room.other.lock(new)
    room.refused(reply, f"{_OTHER} added a member by LOCK")


@probe(Level.BAD, rfc(4918, "7.4"))
def infinity_put(room: Room) -> None:
    """A lock on a tree keeps others from writing a member; its holder can."""
    held, doc = _collection(room, "infinity")
    room.refused(room.other.put(doc), f"{_OTHER} wrote a member of a locked tree")
    room.allowed(room.creator.put(doc, if_=held.submitted), "the holder of a lock on a tree could not write a member")


@probe(Level.BAD, rfc(4918, "7.4"))
def infinity_put_new(room: Room) -> None:
    """A lock on a tree keeps others from adding a member; its holder can."""
    held, _ = _collection(room, "infinity")
    new = room.path("collection/new.txt")
    room.refused(room.other.put(new), f"{_OTHER} added a member to a locked tree")
    reply = room.creator.put(new, if_=held.tagged)
    room.allowed(reply, "the holder of a lock on a tree could not add a member with the token in a tagged list")


@probe(Level.BAD, rfc(4918, "9.3"))
def infinity_mkcol(room: Room) -> None:
    """A lock on a tree keeps others from adding a collection."""
    _collection(room, "infinity")
    room.refused(room.other.mkcol(room.path("collection/new/")), f"{_OTHER} added a collection to a locked tree")


@probe(Level.BAD, rfc(4918, "7.5.2"))
def infinity_delete(room: Room) -> None:
    """A lock on a tree keeps others from deleting a member; its holder can, with the tree's token."""
    held, doc = _collection(room, "infinity")
    if room.refused(room.other.delete(doc), f"{_OTHER} deleted a member of a locked tree"):
        reply = room.creator.delete(doc, if_=held.tagged)
        room.allowed(reply, "the holder of a lock on a tree could not delete a member")


@probe(Level.BAD, rfc(4918, "6.1"))
def member_delete_keeps_lock(room: Room) -> None:
    """Deleting a member leaves the collection's lock."""
    held, doc = _collection(room, "infinity")
    room.creator.delete(doc, if_=held.tagged)
    room.kept_out(
        room.other.put(room.path("collection/new.txt")), "deleting a member has ended the protection of its collection"
    )


@probe(Level.BAD, rfc(4918, "6.1"))
def new_member_is_locked(room: Room) -> None:
    """What is added to a locked tree, by PUT, COPY or MOVE, becomes locked."""
    held, _ = _collection(room, "infinity")
    actor = room.creator
    outside = room.document("outside.txt")
    put, copied, moved = (room.path(f"collection/{name}.txt") for name in ("put", "copied", "moved"))
    done = (
        ("PUT", put, actor.put(put, if_=held.tagged)),
        ("COPY", copied, actor.copy(outside, copied, if_=held.tagged)),
        ("MOVE", moved, actor.move(outside, moved, if_=held.tagged)),
    )
    for method, path, reply in done:
        if room.allowed(reply, f"the holder of a lock on a tree could not add a member by {method}"):
            room.kept_out(
                room.other.put(path), f"what {method} has added to a locked tree was written without its token"
            )
