"""The probe that hands every refusal of the run to the inspector's rules."""

from __future__ import annotations

from typing import Final

from holdfast.inspector.inspecting import inspect
from holdfast.inspector.notes import Level, rfc
from holdfast.inspector.probing.probe import probe
from holdfast.inspector.probing.reply import Reply
from holdfast.inspector.probing.room import Room

__all__ = ["refusals_inspected"]

_MOST: Final = 400


def _shape(reply: Reply) -> tuple[object, ...]:
    """What has the same shape has the same notes, and is inspected once."""
    names = tuple(name.lower() for name, _ in reply.response.fields)
    kind = (reply.response.media_type, len(reply.named("href")), len(reply.named("status")))
    return (reply.request.method, reply.status, names, frozenset(reply.conditions), *kind)


@probe(Level.BAD, rfc(4918, "16"))
def refusals_inspected(room: Room) -> None:
    """No rule of the inspector has a bad note or a warning about a 423 that was met on the way.

    Each rule is named once, with the first refusal that it is about.
    """
    doc = room.document()
    room.creator.held(doc)
    for method in ("PUT", "DELETE", "PROPPATCH", "LOCK"):
        room.other.send(method, doc)
    told: set[str] = set()
    different = {_shape(reply): reply for reply in reversed(room.session.refusals)}
    for reply in list(different.values())[:_MOST]:
        for note in inspect(reply.exchange, generic=False).notes:
            if note.level in {Level.BAD, Level.WARN} and note.rule not in told:
                told.add(note.rule)
                room.expect(False, f"{note.rule}: {note.summary}", reply, note.level)
