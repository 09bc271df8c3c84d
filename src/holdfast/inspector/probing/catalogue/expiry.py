"""Probes of the end of a lock that nobody releases; each lets some real seconds pass, and all do so at the same time."""

from __future__ import annotations

from typing import Final

from holdfast.inspector.notes import Level, rfc
from holdfast.inspector.probing.probe import Need, NotApplicableError, UndecidedError, probe
from holdfast.inspector.probing.room import Held, Room

__all__ = [
    "expired_token",
    "lock_expires",
    "refresh_covers_members",
    "refresh_restarts",
    "timeout_counts_down",
    "tree_expires",
    "writing_extends_nothing",
]

_LONGEST: Final = 5
"""The longest timeout, in seconds, that is waited out."""
_GRACE: Final = 1.4
"""Seconds that a server may be late: some count in whole ones."""


def _granted(held: Held, asked: int) -> int:
    """For how long the lock was granted. Raises NotApplicableError where that is too long to wait."""
    told = next((lock.timeout for lock in held.reply.locks if lock.token in {held.token, ""}), "")
    seconds = next((lock.timeout_s for lock in held.reply.locks if lock.timeout_s is not None), None)
    if seconds is None or seconds > _LONGEST:
        msg = f"the server grants {told or 'no timeout that it tells'} where Second-{asked} is asked for"
        raise NotApplicableError(msg)
    return max(seconds, 1)


def _lasts(room: Room, held: Held, asked: int) -> float:
    """Wait until the lock has to have ended; the seconds since it was granted."""
    began = room.session.pace.now()
    room.wait(_granted(held, asked) + _GRACE)
    return room.session.pace.now() - began


@probe(Level.BAD, rfc(4918, "6.6"), waits=True)
def lock_expires(room: Room) -> None:
    """A lock ends when its time is over: it is no longer shown, anybody can write, and anybody can lock.

    Otherwise a client that crashed keeps the document locked until an administrator comes.
    """
    held = room.creator.held(room.document(), timeout="Second-2")
    waited = _lasts(room, held, 2)
    shown = room.creator.propfind(held.path)
    room.expect(not shown.locks, f"{waited:.1f} s after it was granted the lock is still shown", shown)
    room.allowed(
        room.other.put(held.path), f"{waited:.1f} s after a lock was granted it still keeps others from writing"
    )
    room.allowed(
        room.other.lock(held.path), f"{waited:.1f} s after a lock was granted it still keeps others from locking"
    )


@probe(Level.BAD, rfc(4918, "6.6"), waits=True)
def tree_expires(room: Room) -> None:
    """A lock on a tree ends for its members too."""
    coll = room.collection()
    doc = room.document("collection/member.txt")
    held = room.creator.held(coll, depth="infinity", timeout="Second-2")
    waited = _lasts(room, held, 2)
    room.allowed(room.other.put(doc), f"{waited:.1f} s after a tree was locked its members are still locked")


@probe(Level.BAD, rfc(4918, "10.4.4"), waits=True)
def expired_token(room: Room) -> None:
    """The token of a lock that has ended permits nothing, and cannot be refreshed: 412.

    Otherwise the former holder overwrites what others have written since.
    """
    held = room.creator.held(room.document(), timeout="Second-1")
    _lasts(room, held, 1)
    for what, reply in (
        (
            "a PUT under the condition of a lock that has ended was done",
            room.creator.put(held.path, if_=held.submitted),
        ),
        ("a lock that has ended was refreshed", room.creator.refresh(held.path, held.token)),
    ):
        if room.refused(reply, what):
            room.expect(reply.status == 412, f"the refusal is {reply.status}, not 412: {what}", reply, Level.WARN)


@probe(Level.BAD, rfc(4918, "6.6"), waits=True)
def refresh_restarts(room: Room) -> None:
    """A refresh restarts the time: the lock holds when its first timeout would have ended it."""
    held = room.creator.held(room.document(), timeout="Second-2")
    first = _granted(held, 2)
    reply = room.creator.refresh(held.path, held.token, "Second-60")
    if not reply.took_effect:
        raise NotApplicableError("the refresh was refused (see refresh-answer)")
    if (told := next((lock.timeout_s for lock in reply.locks), None)) is not None and told < first + _GRACE + 2:
        msg = f"the server refreshes to {told} seconds where 60 are asked for"
        raise NotApplicableError(msg)
    room.wait(first + _GRACE)
    room.kept_out(
        room.other.put(held.path), "a lock ended at its first timeout although it had been refreshed to a later one"
    )


@probe(Level.BAD, rfc(4918, "6.6"), waits=True)
def refresh_covers_members(room: Room) -> None:
    """A refreshed lock on a tree holds for its members too.

    A server that keeps a record for each member loses them while the client believes to hold the tree.
    """
    coll = room.collection()
    doc = room.document("collection/member.txt")
    held = room.creator.held(coll, depth="infinity", timeout="Second-2")
    first = _granted(held, 2)
    reply = room.creator.refresh(coll, held.token, "Second-60")
    if not reply.took_effect:
        raise NotApplicableError("the refresh was refused (see refresh-answer)")
    room.wait(first + _GRACE)
    room.kept_out(room.other.put(doc), "the members of a refreshed tree were unlocked at its first timeout")


@probe(Level.WARN, rfc(4918, "6.6"), waits=True)
def writing_extends_nothing(room: Room) -> None:
    """Only a refresh restarts the time: writing and looking under a lock do not."""
    held = room.creator.held(room.document(), timeout="Second-3")
    seconds = _granted(held, 3)
    began = room.session.pace.now()
    room.wait(seconds * 0.5)
    reply = room.creator.put(held.path, if_=held.submitted)
    room.creator.propfind(held.path)
    if not reply.took_effect:
        raise UndecidedError("the lock had ended too early to tell")
    room.wait(seconds + _GRACE - (room.session.pace.now() - began))
    room.allowed(room.other.put(held.path), "writing under a lock has restarted its time")


@probe(Level.WARN, rfc(4918, "14.29"), needs=(Need.LOCKS, Need.DISCOVERY), waits=True)
def timeout_counts_down(room: Room) -> None:
    """Lockdiscovery shows how many seconds remain, fewer as time passes."""
    held = room.creator.held(room.document(), timeout="Second-600")
    before = next((lock.timeout_s for lock in held.reply.locks), None)
    if before is None:
        raise NotApplicableError("the server tells no timeout in seconds")
    room.wait(2.2)
    shown = room.creator.propfind(held.path)
    after = next((lock.timeout_s for lock in shown.locks), None)
    room.expect(
        after is not None and after < before,
        f"after two seconds lockdiscovery shows {after} seconds, and before {before}",
        shown,
    )
