"""Probes of what a lock protects against: every kind of write without its token; and what it leaves alone."""

from __future__ import annotations

from holdfast.inspector.notes import Level, rfc
from holdfast.inspector.probing.probe import NotApplicableError, probe
from holdfast.inspector.probing.room import Room

__all__ = [
    "copy_onto_locked",
    "delete_ends_lock",
    "delete_locked",
    "holder_deletes",
    "holder_writes",
    "lock_during_upload",
    "locked_content_stays",
    "move_locked",
    "move_onto_locked",
    "own_write_without_token",
    "patch_locked",
    "proppatch_locked",
    "put_locked",
    "reads_go_on",
]

_WITHOUT = "somebody without the lock token"


def _unchanged(room: Room, path: str, body: bytes = b"as it was") -> None:
    room.expect(room.content(path) == body, "the document has changed although the write was refused")


@probe(Level.BAD, rfc(4918, "7"))
def put_locked(room: Room) -> None:
    """PUT on a locked document without the token is refused."""
    doc = room.document()
    room.creator.held(doc)
    room.refused(room.other.put(doc), f"{_WITHOUT} overwrote a locked document")


@probe(Level.BAD, rfc(4918, "7.5"))
def own_write_without_token(room: Room) -> None:
    """PUT without the token is refused also to the lock's creator.

    The lock belongs to one of his programs, and another must not write past it.
    """
    doc = room.document()
    room.creator.held(doc)
    room.refused(room.creator.put(doc), "the lock's creator overwrote the locked document without its token")


@probe(Level.BAD, rfc(4918, "7"))
def delete_locked(room: Room) -> None:
    """DELETE of a locked document without the token is refused."""
    doc = room.document()
    room.creator.held(doc)
    if room.refused(room.other.delete(doc), f"{_WITHOUT} deleted a locked document"):
        _unchanged(room, doc)


@probe(Level.BAD, rfc(4918, "7"))
def proppatch_locked(room: Room) -> None:
    """PROPPATCH on a locked document without the token is refused."""
    doc = room.document()
    if not room.creator.proppatch(doc).took_effect:
        raise NotApplicableError("the server sets no properties")
    room.creator.held(doc)
    room.refused(room.other.proppatch(doc), f"{_WITHOUT} set a property of a locked document")


@probe(Level.BAD, rfc(4918, "7"))
def move_locked(room: Room) -> None:
    """MOVE of a locked document without the token is refused."""
    doc = room.document()
    room.creator.held(doc)
    if room.refused(room.other.move(doc, room.path("elsewhere.txt")), f"{_WITHOUT} moved a locked document away"):
        _unchanged(room, doc)


@probe(Level.BAD, rfc(4918, "10.6"))
def move_onto_locked(room: Room) -> None:
    """MOVE onto a locked document without the token is refused."""
    doc, source = room.document(), room.document("source.txt", b"source")
    room.creator.held(doc)
    if room.refused(room.other.move(source, doc), f"{_WITHOUT} moved another document onto a locked one"):
        _unchanged(room, doc)


@probe(Level.BAD, rfc(4918, "10.6"))
def copy_onto_locked(room: Room) -> None:
    """COPY onto a locked document without the token is refused."""
    doc, source = room.document(), room.document("source.txt", b"source")
    room.creator.held(doc)
    if room.refused(room.other.copy(source, doc), f"{_WITHOUT} copied another document onto a locked one"):
        _unchanged(room, doc)


@probe(Level.BAD, rfc(4918, "7"))
def patch_locked(room: Room) -> None:
    """POST and PATCH on a locked document without the token change nothing."""
    doc = room.document()
    room.creator.held(doc)
    for method, kind in (("POST", "text/plain"), ("PATCH", "application/x-sabredav-partialupdate")):
        reply = room.other.send(method, doc, b"XXXX", content_type=kind, x_update_range="bytes=0-3")
        room.expect(room.content(doc) == b"as it was", f"{_WITHOUT} changed a locked document by {method}", reply)


@probe(Level.BAD, rfc(4918, "7"))
def locked_content_stays(room: Room) -> None:
    """After a refused PUT content and entity tag are what they were."""
    doc = room.document()
    room.creator.held(doc)
    before = room.creator.get(doc)
    reply = room.other.put(doc, b"something else, and longer")
    if reply.took_effect:
        raise NotApplicableError("the write was not refused (see put-locked)")
    after = room.creator.get(doc)
    room.expect(after.body == before.body, f"a PUT that was answered {reply.status} has changed the document", after)
    room.expect(after.field("etag") == before.field("etag"), "a refused PUT has changed the entity tag", after)


@probe(Level.BAD, rfc(4918, "7"))
def reads_go_on(room: Room) -> None:
    """Whoever does not hold the lock can still read: GET, HEAD, OPTIONS, PROPFIND, and COPY to another place."""
    doc = room.document()
    room.creator.held(doc)
    reader = room.other
    for reply in (
        reader.get(doc),
        reader.send("HEAD", doc),
        reader.send("OPTIONS", doc),
        reader.propfind(doc, "resourcetype"),
    ):
        room.allowed(reply, f"{reply.request.method} on a locked document was refused")
    room.allowed(reader.copy(doc, room.path("copy.txt")), "COPY of a locked document to another place was refused")
    shown = reader.propfind(room.path("copy.txt"))
    room.expect(not shown.locks, "the copy of a locked document is locked too", shown)


@probe(Level.BAD, rfc(4918, "7"))
def holder_writes(room: Room) -> None:
    """Whoever holds the lock writes with its token: PUT and PROPPATCH, and the lock stays."""
    doc = room.document()
    has_properties = room.creator.proppatch(doc).took_effect
    held = room.creator.held(doc)
    room.allowed(room.creator.put(doc, if_=held.submitted), "PUT with the lock's token was refused to its creator")
    if has_properties:
        reply = room.creator.proppatch(doc, if_=held.submitted)
        room.allowed(reply, "PROPPATCH with the lock's token was refused to its creator")
    room.still_guards(doc, "writing under the lock has ended it")


@probe(Level.BAD, rfc(4918, "7.5"))
def holder_deletes(room: Room) -> None:
    """Whoever holds the lock deletes, copies onto and moves with its token in a tagged list."""
    source = room.document("source.txt")
    doc = room.document()
    held = room.creator.held(doc)
    reply = room.creator.copy(source, doc, if_=held.tagged)
    room.allowed(reply, "COPY onto one's own locked document with its token in a tagged list was refused")
    reply = room.creator.delete(doc, if_=held.tagged)
    room.allowed(reply, "DELETE of one's own locked document with its token in a tagged list was refused")
    deleted = room.creator.held(room.document("deleted.txt"))
    reply = room.creator.delete(deleted.path, if_=deleted.submitted)
    room.allowed(reply, "DELETE of one's own locked document with its token in an untagged list was refused")
    moved = room.document("moved.txt")
    held = room.creator.held(moved)
    reply = room.creator.move(moved, room.path("target.txt"), if_=held.tagged)
    room.allowed(reply, "MOVE of one's own locked document with its token in a tagged list was refused")


@probe(Level.BAD, rfc(4918, "6.1"))
def delete_ends_lock(room: Room) -> None:
    """DELETE of the lock root ends the lock: PUT and LOCK at the same URL then work for anybody.

    Windows and Office put, lock, delete, put and lock again: a lock that stays makes them delete the document.
    """
    doc = room.document()
    held = room.creator.held(doc)
    if not room.creator.delete(doc, if_=held.tagged).took_effect:
        raise NotApplicableError("DELETE with the lock's token was refused (see holder-deletes)")
    if room.allowed(room.other.put(doc), "after DELETE of a locked document the URL was still locked: PUT"):
        shown = room.creator.propfind(doc)
        room.expect(not shown.locks, "a new document is locked by the lock of the deleted one", shown)
        room.allowed(room.other.lock(doc), "after DELETE of a locked document the URL was still locked: LOCK")


@probe(Level.WARN, rfc(4918, "7"))
def lock_during_upload(room: Room) -> None:
    """A lock that is granted while somebody else's upload is under way is not overwritten by that upload.

    A server that judges the locks first and reads the body afterwards loses what the holder of the lock writes.
    """
    doc = room.document()
    granted: list[int] = []

    def lock() -> None:
        room.wait(0.1)
        reply = room.creator.lock(doc)
        granted.append(reply.status)

    reply = room.other.put(doc, b"late " * 40_000, midway=lock)
    if granted not in ([200], [201]):
        msg = f"no lock is granted during an upload: LOCK was answered {granted[0]}"
        raise NotApplicableError(msg)
    room.kept_out(reply, "an upload was done after somebody else had locked the document")
