"""The record of what happened to locks, as pages: for audit."""

from __future__ import annotations

from msgspec import UnsetType

from holdfast.core.model import Event
from holdfast.faces.api.bodies import HistoryPage, HistoryQuery
from holdfast.faces.api.call import Call, answer
from holdfast.faces.api.shown import event_body, may_see_event
from holdfast.wire.exchange import Response

__all__ = ["history"]


def history(call: Call) -> Response:
    """GET /api/history: the events that the principal may see, from the oldest that is kept."""
    query = call.query(HistoryQuery)
    under = None if isinstance(query.under, UnsetType) else call.resource(query.under, "under", 400)

    def admits(event: Event) -> bool:
        return (
            (under is None or event.root.is_at_or_below(under))
            and (isinstance(query.lock, UnsetType) or event.lock_id == query.lock)
            and may_see_event(call.principal, event)
        )

    past = call.site.registry.history(admits, query.after, query.limit)
    offset = call.site.clock.wall_offset()
    return answer(HistoryPage([event_body(event, offset) for event in past.events], past.next_seq, past.more))
