"""The record of what happened to locks, as pages: for audit."""

from __future__ import annotations

from holdfast.faces.api.bodies import HistoryPage, HistoryQuery
from holdfast.faces.api.call import Call, answer
from holdfast.faces.api.events import LISTS, asked_events
from holdfast.faces.api.shown import event_body
from holdfast.wire.exchange import Response

__all__ = ["history"]


def history(call: Call) -> Response:
    """GET /api/history: the events that the principal may see, from the oldest that is kept, or from the newest."""
    query = call.query(HistoryQuery, lists=LISTS)
    past = call.site.registry.history(
        asked_events(call, query),
        query.after,
        query.limit,
        before_seq=query.before,
        newest_first=query.order == "newest",
    )
    offset = call.site.clock.wall_offset()
    return answer(HistoryPage([event_body(event, offset) for event in past.events], past.next_seq, past.more))
