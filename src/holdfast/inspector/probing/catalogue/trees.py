"""Probes of whole trees with a locked member: DELETE, MOVE and COPY onto them (RFC 4918 sections 9.6.1, 9.8 and 9.9)."""

from __future__ import annotations

from holdfast.inspector.notes import Level, rfc
from holdfast.inspector.probing.probe import NotApplicableError, probe
from holdfast.inspector.probing.reply import Reply, path_of
from holdfast.inspector.probing.room import Held, Room

__all__ = [
    "copy_over_tree",
    "delete_tree",
    "delete_tree_status",
    "holder_deletes_tree",
    "holder_moves_tree",
    "move_tree",
]


def _tree(room: Room) -> tuple[str, Held]:
    """A collection that is not locked, with a member two levels down that is."""
    coll = room.collection()
    room.collection("collection/inner")
    return coll, room.creator.held(room.document("collection/inner/member.txt"))


def _kept(room: Room, held: Held, reply: Reply, what: str) -> None:
    """Expect that it was refused, and that the locked member is still there; `what` says what was done to the tree."""
    room.refused(reply, f"{what} although somebody has locked a member of it")
    is_whole = room.content(held.path) == b"as it was"
    room.expect(is_whole, f"the locked member is gone, and {reply.request.method} was answered {reply.status}", reply)


@probe(Level.BAD, rfc(4918, "9.6.1"))
def delete_tree(room: Room) -> None:
    """DELETE of a tree leaves a member that somebody has locked, and what is above it."""
    coll, held = _tree(room)
    _kept(room, held, room.other.delete(coll), "a tree was deleted")


@probe(Level.WARN, rfc(4918, "9.6.1"))
def delete_tree_status(room: Room) -> None:
    """The refusal to delete a tree is 207 or 423, names the locked member, and blames no 424 on what is above."""
    coll, held = _tree(room)
    reply = room.other.delete(coll)
    if reply.took_effect:
        raise NotApplicableError("the tree was deleted (see delete-tree)")
    room.expect(reply.status in {207, 423}, f"the refusal is {reply.status}, not 207 or 423", reply)
    if reply.status == 207:
        room.expect(reply.statuses.get(path_of(held.path)) == 423, "the 207 has no 423 for the locked member", reply)
        room.expect(424 not in reply.statuses.values(), "the 207 for DELETE has 424 in it", reply)


@probe(Level.BAD, rfc(4918, "9.9.2"))
def move_tree(room: Room) -> None:
    """MOVE of a tree leaves a member that somebody has locked."""
    coll, held = _tree(room)
    _kept(room, held, room.other.move(coll, room.path("moved/")), "a tree was moved")


@probe(Level.BAD, rfc(4918, "9.8.4"))
def copy_over_tree(room: Room) -> None:
    """COPY and MOVE onto a tree leave a member in it that somebody has locked."""
    coll, held = _tree(room)
    source = room.collection("source")
    for method, act in (("COPY", room.other.copy), ("MOVE", room.other.move)):
        _kept(room, held, act(source, coll), f"{method} replaced a tree")


@probe(Level.BAD, rfc(4918, "7.5"))
def holder_deletes_tree(room: Room) -> None:
    """Whoever holds the lock of a member deletes the tree with its token."""
    coll, held = _tree(room)
    reply = room.creator.delete(coll, if_=held.tagged)
    room.allowed(reply, "DELETE of a tree with the token of its locked member was refused")


@probe(Level.BAD, rfc(4918, "7.5"))
def holder_moves_tree(room: Room) -> None:
    """Whoever holds the lock of a member moves the tree with its token."""
    coll, held = _tree(room)
    reply = room.creator.move(coll, room.path("moved/"), if_=held.tagged)
    room.allowed(reply, "MOVE of a tree with the token of its locked member was refused")
