"""Probes of the refresh: a LOCK without a body (RFC 4918 section 9.10.2)."""

from __future__ import annotations

from holdfast.inspector.notes import Level, rfc
from holdfast.inspector.probing.probe import NotApplicableError, probe
from holdfast.inspector.probing.reply import Reply
from holdfast.inspector.probing.room import Held, Room

__all__ = [
    "refresh_answer",
    "refresh_by_member",
    "refresh_depth",
    "refresh_keeps_token",
    "refresh_token_field",
    "refresh_wrong_token",
]

_BOGUS = "urn:uuid:00000000-0000-4000-8000-00000000dead"


@probe(Level.BAD, rfc(4918, "9.10.2"))
def refresh_answer(room: Room) -> None:
    """A refresh is answered 200 with lockdiscovery and the new timeout in its body."""
    held = room.creator.held(room.document())
    reply = room.creator.refresh(held.path, held.token, "Second-300")
    if room.allowed(reply, "a refresh was refused to the lock's creator"):
        told = next((lock for lock in reply.locks if lock.token == held.token), None)
        room.expect(told, "the answer to a refresh does not show the lock", reply)
        room.expect(told is None or told.timeout, "the answer to a refresh does not tell the timeout", reply)


@probe(Level.WARN, rfc(4918, "9.10.2"))
def refresh_token_field(room: Room) -> None:
    """The answer to a refresh has no Lock-Token field.

    The field announces a new lock, which a client would then release on its own.
    """
    reply = _refreshed(room, room.creator.held(room.document()))
    room.expect(not reply.token_field, f"the answer to a refresh has Lock-Token: {reply.token_field}", reply)
    room.expect(reply.status == 200, f"a refresh was answered {reply.status}, not 200", reply)


@probe(Level.BAD, rfc(4918, "7.7"))
def refresh_keeps_token(room: Room) -> None:
    """After two refreshes there is one lock, with the token that it had.

    A new token at each refresh locks the client out of its own document.
    """
    held = room.creator.held(room.document())
    _refreshed(room, held)
    _refreshed(room, held)
    shown = room.creator.propfind(held.path)
    room.expect(len(shown.locks) <= 1, f"after two refreshes {len(shown.locks)} locks are shown", shown)
    room.expect({lock.token for lock in shown.locks} <= {held.token, ""}, "a refresh has changed the token", shown)
    room.allowed(
        room.creator.put(held.path, if_=held.submitted), "after two refreshes the token no longer permits a PUT"
    )


@probe(Level.WARN, rfc(4918, "9.10.6"))
def refresh_wrong_token(room: Room) -> None:
    """A refresh with a token that is none is 412 with lock-token-matches-request-uri, and makes no lock.

    Clients tell by it that their lock is gone.
    """
    doc = room.document()
    reply = room.creator.refresh(doc, _BOGUS)
    room.expect(not reply.took_effect, "a lock that does not exist was refreshed", reply, Level.BAD)
    room.expect(reply.took_effect or reply.status == 412, f"the refusal is {reply.status}, not 412", reply)
    is_told = "lock-token-matches-request-uri" in reply.conditions
    room.expect(reply.status != 412 or is_told, "the 412 lacks lock-token-matches-request-uri", reply)
    shown = room.creator.propfind(doc)
    room.expect(not shown.locks, "a refresh with a token that is none has made a lock", shown, Level.BAD)


@probe(Level.BAD, rfc(4918, "9.10.2"))
def refresh_depth(room: Room) -> None:
    """A refresh ignores the Depth field."""
    coll = room.collection()
    doc = room.document("collection/member.txt")
    held = room.creator.held(coll, depth="infinity")
    reply = room.creator.refresh(coll, held.token, depth="0")
    if room.allowed(reply, "a refresh with Depth: 0 of a lock on a tree was refused"):
        room.kept_out(room.other.put(doc), "a refresh with Depth: 0 has unlocked the members")


@probe(Level.BAD, rfc(4918, "9.10.2"))
def refresh_by_member(room: Room) -> None:
    """A lock on a tree is refreshed by the URL of a member too."""
    coll = room.collection()
    doc = room.document("collection/member.txt")
    held = room.creator.held(coll, depth="infinity")
    reply = room.creator.refresh(doc, held.token)
    room.allowed(reply, "a refresh by the URL of a member was refused")


def _refreshed(room: Room, held: Held) -> Reply:
    reply = room.creator.refresh(held.path, held.token)
    if not reply.took_effect:
        raise NotApplicableError("the refresh was refused (see refresh-answer)")
    return reply
