"""Probes of UNLOCK (RFC 4918 section 9.11)."""

from __future__ import annotations

from holdfast.inspector.notes import Level, rfc
from holdfast.inspector.probing.probe import NotApplicableError, probe
from holdfast.inspector.probing.room import Room

__all__ = [
    "unlock_by_member",
    "unlock_elsewhere",
    "unlock_frees",
    "unlock_unknown_token",
    "unlock_without_token",
    "used_token",
]

_BOGUS = "urn:uuid:00000000-0000-4000-8000-00000000dead"


@probe(Level.BAD, rfc(4918, "9.11"))
def unlock_frees(room: Room) -> None:
    """UNLOCK is answered 204, and then anybody can write."""
    held = room.creator.held(room.document())
    reply = room.creator.unlock(held.path, held.token)
    if room.allowed(reply, "UNLOCK was refused to the lock's creator"):
        room.expect(reply.status == 204, f"UNLOCK was answered {reply.status}, not 204", reply, Level.WARN)
        room.allowed(room.other.put(held.path), "after UNLOCK the document could not be written")


@probe(Level.WARN, rfc(4918, "9.11.1"))
def unlock_without_token(room: Room) -> None:
    """UNLOCK without a Lock-Token field is 400, and the lock stays."""
    held = room.creator.held(room.document())
    reply = room.creator.send("UNLOCK", held.path)
    room.expect(reply.status == 400, f"UNLOCK without a token was answered {reply.status}, not 400", reply)
    room.still_guards(held.path, "UNLOCK without a token has released the lock")


@probe(Level.WARN, rfc(4918, "9.11.1"))
def unlock_unknown_token(room: Room) -> None:
    """UNLOCK with a token that is none is 409 with lock-token-matches-request-uri, and the lock stays."""
    held = room.creator.held(room.document())
    reply = room.creator.unlock(held.path, _BOGUS)
    room.still_guards(held.path, "UNLOCK with a wrong token has released the lock")
    if room.expect(reply.status == 409, f"UNLOCK with a wrong token was answered {reply.status}, not 409", reply):
        is_told = "lock-token-matches-request-uri" in reply.conditions
        room.expect(is_told, "the 409 lacks lock-token-matches-request-uri", reply)


@probe(Level.BAD, rfc(4918, "9.11"))
def unlock_elsewhere(room: Room) -> None:
    """A lock is not released by the URL of a resource that it does not cover."""
    free = room.document("free.txt")
    held = room.creator.held(room.document())
    reply = room.creator.unlock(free, held.token)
    room.refused(reply, "UNLOCK of a document that is not locked succeeded")
    room.still_guards(held.path, "a lock was released by the URL of another document")


@probe(Level.WARN, rfc(4918, "9.11"))
def unlock_by_member(room: Room) -> None:
    """UNLOCK by the URL of a member releases the whole tree."""
    coll = room.collection()
    doc = room.document("collection/member.txt")
    other = room.document("collection/other.txt")
    held = room.creator.held(coll, depth="infinity")
    if room.allowed(room.creator.unlock(doc, held.token), "UNLOCK by the URL of a member was refused"):
        for path in (other, room.path("collection/new.txt")):
            room.allowed(room.other.put(path), "after UNLOCK by a member the rest of the tree is still locked")


@probe(Level.BAD, rfc(4918, "10.4.4"))
def used_token(room: Room) -> None:
    """The token of a released lock is no longer true in an If field: 412."""
    held = room.creator.held(room.document())
    if not room.creator.unlock(held.path, held.token).took_effect:
        raise NotApplicableError("UNLOCK was refused (see unlock-frees)")
    reply = room.creator.put(held.path, if_=held.submitted)
    if room.refused(reply, "a PUT under the condition of a lock that was released was done"):
        room.expect(reply.status == 412, f"the refusal is {reply.status}, not 412", reply, Level.WARN)
