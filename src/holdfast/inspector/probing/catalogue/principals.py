"""Probes of whose a lock is: a token is no permission (RFC 4918 section 6.4), and everybody can read it in lockdiscovery."""

from __future__ import annotations

from holdfast.inspector.notes import Level, rfc
from holdfast.inspector.probing.probe import Need, NotApplicableError, UndecidedError, probe
from holdfast.inspector.probing.reply import Reply
from holdfast.inspector.probing.room import Held, Room

__all__ = [
    "foreign_token_delete",
    "foreign_token_elsewhere",
    "foreign_token_lock",
    "foreign_token_not",
    "foreign_token_put",
    "foreign_token_refresh",
    "foreign_token_unlock",
    "lock_without_login",
    "login_before_lock",
]

_TWO = (Need.LOCKS, Need.SECOND)
_SOMEBODY = "another principal who had read the token"


def _written(room: Room, held: Held, condition: str, how: str) -> None:
    reply = room.other.put(held.path, if_=condition)
    room.kept_out(reply, f"{_SOMEBODY} overwrote the locked document with {how}")


@probe(Level.BAD, rfc(4918, "6.4"), needs=_TWO)
def foreign_token_put(room: Room) -> None:
    """PUT with the token of somebody else's lock is refused."""
    _written(room, held := room.creator.held(room.document()), held.submitted, "If: (<token>)")


@probe(Level.BAD, rfc(4918, "6.4"), needs=_TWO)
def foreign_token_elsewhere(room: Room) -> None:
    """The same in a list that is tagged with another resource, in any of its forms."""
    free = room.document("free.txt")
    held = room.creator.held(room.document())
    _written(
        room, held, f"<{room.session.origin}{free}> (<{held.token}>)", "its token in a list about another resource"
    )
    always = f"<{held.url}> (Not <DAV:no-lock>) <{room.session.origin}{free}> (<{held.token}>)"
    _written(room, held, always, "its token in a second list about another resource")


@probe(Level.BAD, rfc(4918, "6.4"), needs=_TWO)
def foreign_token_not(room: Room) -> None:
    """The same with the token behind Not."""
    held = room.creator.held(room.document())
    _written(room, held, f"(Not <{held.token}>) (Not <DAV:no-lock>)", "its token behind Not")
    _written(room, held, f"(<{held.token}>) (Not <DAV:no-lock>)", "its token in one of two lists")


@probe(Level.BAD, rfc(4918, "6.4"), needs=_TWO)
def foreign_token_delete(room: Room) -> None:
    """DELETE and MOVE with the token of somebody else's lock are refused."""
    held = room.creator.held(room.document())
    to = room.path("elsewhere.txt")
    if room.refused(room.other.move(held.path, to, if_=held.submitted), f"{_SOMEBODY} moved the locked document"):
        room.refused(room.other.delete(held.path, if_=held.submitted), f"{_SOMEBODY} deleted the locked document")


@probe(Level.BAD, rfc(4918, "6.4"), needs=_TWO)
def foreign_token_lock(room: Room) -> None:
    """A second exclusive lock is not granted to whoever submits the token of the first."""
    held = room.creator.held(room.document())
    reply = room.other.lock(held.path, if_=held.submitted)
    has_own = reply.took_effect and reply.token_field and reply.token != held.token
    room.expect(not has_own, f"{_SOMEBODY} was granted a second exclusive lock", reply)


@probe(Level.WARN, rfc(4918, "6.4"), needs=_TWO)
def foreign_token_refresh(room: Room) -> None:
    """Somebody else's lock cannot be refreshed.

    A lock that anybody can prolong never ends, although its creator has long gone.
    """
    held = room.creator.held(room.document())
    room.refused(room.other.refresh(held.path, held.token), f"{_SOMEBODY} refreshed the lock")


@probe(Level.BAD, rfc(4918, "9.11.1"), needs=_TWO)
def foreign_token_unlock(room: Room) -> None:
    """UNLOCK by another principal is refused, with 403, and the lock stays.

    A principal who may break locks may do so; name one here that may not.
    """
    held = room.creator.held(room.document())
    reply = room.other.unlock(held.path, held.token)
    if room.refused(reply, f"{_SOMEBODY} released the lock"):
        room.expect(reply.status == 403, f"the refusal is {reply.status}, not 403", reply, Level.WARN)
        room.still_guards(held.path, "the lock is gone although UNLOCK was refused")


@probe(Level.BAD, rfc(4918, "6.4"), needs=(Need.LOCKS, Need.LOGIN))
def lock_without_login(room: Room) -> None:
    """Whoever may not write may not lock: LOCK without credentials is refused.

    Otherwise a stranger keeps everybody from writing.
    """
    doc = room.document()
    reply = room.nobody.lock(doc)
    if room.refused(reply, "a lock was granted to somebody without credentials, who may not write"):
        room.expect(reply.status in {401, 403, 404}, f"the refusal is {reply.status}", reply, Level.WARN)


@probe(Level.WARN, rfc(4918, "10.6"), needs=(Need.LOCKS, Need.LOGIN))
def login_before_lock(room: Room) -> None:
    """A PUT without credentials on a locked document is told to log in, not who holds the lock."""
    doc = room.document()
    room.creator.held(doc)
    reply: Reply = room.nobody.put(doc)
    if reply.took_effect:
        raise UndecidedError("the write was not refused at all")
    if reply.status == 404:
        raise NotApplicableError("the server hides what is there from strangers")
    room.expect(reply.status in {401, 403}, f"a stranger was answered {reply.status} instead of 401", reply)
