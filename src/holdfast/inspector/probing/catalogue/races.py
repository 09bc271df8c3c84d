"""Probes of requests that come at the same moment, from several connections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from holdfast.inspector.notes import Level, rfc
from holdfast.inspector.probing.probe import probe
from holdfast.inspector.probing.reply import Reply
from holdfast.inspector.probing.room import Actor, Room

__all__ = ["lock_race", "writes_without_lock"]

_ROUNDS: Final = 40
_WIDTH: Final = 6


@probe(Level.BAD, rfc(4918, "6.1"))
def lock_race(room: Room) -> None:
    """Of exclusive LOCKs that come at the same moment one is granted.

    It takes luck to see: a run without a finding is no proof.
    """
    doc = room.document()

    def lock(actor: Actor, _number: int) -> Reply:
        return actor.lock(doc)

    def judge(replies: Sequence[Reply]) -> bool:
        winners = [reply for reply in replies if reply.took_effect]
        many = f"{len(winners)} of {len(replies)} exclusive LOCKs at the same moment were granted"
        is_one = room.expect(len(winners) <= 1, many, winners[-1] if winners else None)
        accidents = [reply for reply in replies if reply.status >= 500]
        room.expect(
            not accidents,
            "a LOCK at the same moment as others was answered by an accident",
            next(iter(accidents), None),
            Level.WARN,
        )
        for winner in winners:
            actor = room.creator if winner.who == room.creator.principal.name else room.other
            actor.unlock(doc, winner.token)
        return bool(is_one and not accidents)

    room.race(_WIDTH, lock, _ROUNDS, judge)


@probe(Level.WARN, rfc(4918, "11.3"), needs=())
def writes_without_lock(room: Room) -> None:
    """Uploads of one document at the same moment are not answered 423 where nobody has locked it.

    A program that copies many files takes that for a lock that somebody holds, and gives up.
    """
    doc = room.document()

    def put(actor: Actor, number: int) -> Reply:
        return actor.put(doc, b"%d" % number * 2000)

    def judge(replies: Sequence[Reply]) -> bool:
        refused = [reply for reply in replies if reply.status == 423]
        return room.expect(
            not refused,
            f"{len(refused)} of {len(replies)} PUTs at the same moment were answered 423, without a lock",
            next(iter(refused), None),
        )

    room.race(_WIDTH, put, 10, judge)
