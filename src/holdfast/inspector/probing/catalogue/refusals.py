"""Probes of how a refusal looks: the status, and the precondition code with the lock's root (RFC 4918 section 16)."""

from __future__ import annotations

from holdfast.inspector.notes import Level, rfc
from holdfast.inspector.probing.probe import NotApplicableError, probe
from holdfast.inspector.probing.reply import Reply, path_of
from holdfast.inspector.probing.room import Room

__all__ = ["lock_refusal_code", "refusal_before_upload", "refusal_of_member", "refusal_status", "write_refusal_code"]


def _refusal(reply: Reply, see: str) -> Reply:
    if reply.took_effect:
        msg = f"it was not refused (see {see})"
        raise NotApplicableError(msg)
    return reply


@probe(Level.WARN, rfc(4918, "11.3"))
def refusal_status(room: Room) -> None:
    """What a lock forbids is answered 423: PUT, DELETE, PROPPATCH, MOVE, LOCK.

    By it a client knows that waiting helps.
    """
    doc = room.document()
    room.creator.held(doc)
    actor = room.other
    replies = (
        actor.put(doc),
        actor.proppatch(doc),
        actor.lock(doc),
        actor.move(doc, room.path("x.txt")),
        actor.delete(doc),
    )
    for reply in replies:
        if not reply.took_effect and reply.status not in {405, 501}:
            is_423 = reply.status == 423 or 423 in reply.statuses.values()
            room.expect(
                is_423, f"{reply.request.method} on a locked document was answered {reply.status}, not 423", reply
            )


@probe(Level.WARN, rfc(4918, "9.10.6"))
def lock_refusal_code(room: Room) -> None:
    """The refusal of a LOCK says no-conflicting-lock, and at which URL the lock is."""
    doc = room.document()
    room.creator.held(doc)
    reply = _refusal(room.other.lock(doc), "exclusive-after-exclusive")
    codes = reply.conditions
    if room.expect(
        "no-conflicting-lock" in codes, f"the precondition code is {_codes(codes)}, not no-conflicting-lock", reply
    ):
        hrefs = reply.hrefs("no-conflicting-lock")
        room.expect(path_of(doc) in hrefs, "no-conflicting-lock does not name the lock root", reply)


@probe(Level.WARN, rfc(4918, "16"))
def write_refusal_code(room: Room) -> None:
    """The refusal of a write says lock-token-submitted, and at which URL the lock is."""
    doc = room.document()
    room.creator.held(doc)
    for reply in (room.other.put(doc), room.other.delete(doc)):
        _refusal(reply, "put-locked")
        method, codes = reply.request.method, reply.conditions
        if room.expect(
            "lock-token-submitted" in codes,
            f"{method}: the precondition code is {_codes(codes)}, not lock-token-submitted",
            reply,
        ):
            hrefs = reply.hrefs("lock-token-submitted")
            room.expect(hrefs, f"{method}: lock-token-submitted has no href, and must have one", reply, Level.BAD)
            room.expect(
                not hrefs or path_of(doc) in hrefs, f"{method}: lock-token-submitted does not name the lock root", reply
            )


@probe(Level.WARN, rfc(4918, "7.5.2"))
def refusal_of_member(room: Room) -> None:
    """The refusal to write a member of a locked tree names the tree, where the lock is."""
    coll = room.collection()
    doc = room.document("collection/member.txt")
    room.creator.held(coll, depth="infinity")
    for reply, code in ((room.other.put(doc), "lock-token-submitted"), (room.other.lock(doc), "no-conflicting-lock")):
        _refusal(reply, "infinity-put")
        hrefs = reply.hrefs(code)
        room.expect(
            path_of(coll) in hrefs, f"{reply.request.method}: {code} does not name the tree that is locked", reply
        )


@probe(Level.WARN, rfc(9110, "10.1.1"))
def refusal_before_upload(room: Room) -> None:
    """A large PUT that asks first, by Expect: 100-continue, is refused before its body is sent."""
    doc = room.document()
    room.creator.held(doc)
    reply = room.other.put(doc, b"x" * 300_000, expect="100-continue")
    _refusal(reply, "put-locked")
    room.expect(
        reply.exchange.body_was_sent is False,
        f"the {reply.status} came only after all 300 000 bytes had been asked for",
        reply,
    )


def _codes(found: set[str]) -> str:
    return ", ".join(sorted(found)) or "missing"
