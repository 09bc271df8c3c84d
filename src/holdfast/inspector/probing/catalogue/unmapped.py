"""Probes of LOCK on a URL where nothing is yet (RFC 4918 sections 7.3 and 9.10.4)."""

from __future__ import annotations

from holdfast.inspector.notes import Level, rfc
from holdfast.inspector.probing.probe import NotApplicableError, probe
from holdfast.inspector.probing.reply import path_of
from holdfast.inspector.probing.room import Held, Room

__all__ = [
    "failed_lock_leaves_nothing",
    "lock_missing_parent",
    "unmapped_created",
    "unmapped_guarded",
    "unmapped_no_collection",
    "unmapped_stays",
]

_LNR = "RFC 4918 still allows the lock-null resources of RFC 2518; new clients do not expect them"


def _held(room: Room) -> Held:
    return room.creator.held(room.path("new.txt"))


@probe(Level.BAD, rfc(4918, "7.3"))
def unmapped_created(room: Room) -> None:
    """LOCK where nothing is makes an empty document: 201, GET, and a place in its collection.

    A lock without a document cannot be found by anybody.
    """
    held = _held(room)
    got = room.creator.get(held.path)
    listed = room.creator.propfind(room.folder, "resourcetype", depth="1")
    is_listed = any(path_of(href.text()) == path_of(held.path) for href in listed.named("href"))
    is_null = got.status == 404 and held.reply.status == 200
    level = Level.INFO if is_null and not room.other.put(held.path).took_effect else None
    note = f" ({_LNR})" if level else ""
    room.expect(
        held.reply.status == 201,
        f"LOCK where nothing is was answered {held.reply.status}, not 201{note}",
        held.reply,
        level,
    )
    room.expect(
        got.status in {200, 204} and not got.body, f"GET of what LOCK made is answered {got.status}{note}", got, level
    )
    room.expect(is_listed or level, "what LOCK made is not listed in its collection", listed)


@probe(Level.BAD, rfc(4918, "7.3"))
def unmapped_guarded(room: Room) -> None:
    """What LOCK made is written by the lock's creator, and by nobody else."""
    held = _held(room)
    room.kept_out(room.other.put(held.path), "somebody without the token wrote where a LOCK had reserved the name")
    room.allowed(
        room.creator.put(held.path, if_=held.submitted),
        "PUT with the token was refused where LOCK had reserved the name",
    )
    room.refused(room.other.put(held.path), "the first PUT has ended the lock that had reserved the name")


@probe(Level.BAD, rfc(4918, "7.3"))
def unmapped_no_collection(room: Room) -> None:
    """What LOCK made does not become a collection: MKCOL is refused."""
    held = _held(room)
    is_null = held.reply.status == 200 and room.creator.get(held.path).status == 404
    reply = room.creator.mkcol(held.path, if_=held.submitted)
    what = "MKCOL succeeded where a LOCK had reserved the name" + (f" ({_LNR})" if is_null else "")
    room.expect(not reply.took_effect, what, reply, Level.INFO if is_null else None)


@probe(Level.WARN, rfc(4918, "7.3"))
def unmapped_stays(room: Room) -> None:
    """What LOCK made stays after UNLOCK."""
    held = _held(room)
    if not room.creator.unlock(held.path, held.token).took_effect:
        raise NotApplicableError("UNLOCK was refused (see unlock-frees)")
    got = room.creator.get(held.path)
    level = Level.INFO if held.reply.status == 200 else None
    room.expect(got.status in {200, 204}, f"after UNLOCK, GET is answered {got.status}", got, level)


@probe(Level.BAD, rfc(4918, "9.10.6"))
def lock_missing_parent(room: Room) -> None:
    """LOCK below a collection that is not there is 409, and makes none."""
    reply = room.creator.lock(room.path("missing/new.txt"))
    if room.refused(reply, "LOCK succeeded below a collection that is not there"):
        room.expect(reply.status == 409, f"the refusal is {reply.status}, not 409", reply, Level.WARN)
    room.expect(not room.exists(room.path("missing/")), "LOCK has made the missing collection")


@probe(Level.BAD, rfc(4918, "9.10.6"))
def failed_lock_leaves_nothing(room: Room) -> None:
    """A LOCK that is refused makes no document."""
    coll = room.collection()
    room.creator.held(coll, depth="infinity")
    new = room.path("collection/new.txt")
    reply = room.other.lock(new)
    room.refused(reply, "somebody else locked a new name in a locked tree")
    if not reply.took_effect:
        room.expect(not room.exists(new), f"a LOCK that was refused with {reply.status} has made a document", reply)
