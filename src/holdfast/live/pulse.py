"""The pulse: looks at what was committed, by this process or another, and at the clock, for all who wait or listen.

Owns: the cursor in the feed of events, and how often it is looked at. Must not know: who waits or listens, and what
for; it knows the two kinds of them by their few methods. Used on the edge's thread alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Protocol

from holdfast.core.model import Event
from holdfast.live.feed import PAGE, Feed
from holdfast.store.protocol import Store

__all__ = ["LOOK_S", "Line", "LivePulse"]

LOOK_S: Final = 0.025
"""Seconds after which it is looked at the store again, where other processes may have changed it."""

_MOST_PAGES: Final = 4
"""Pages of events that one beat passes on. Where more has happened, readers read them as their turn comes."""

_IDLE_S: Final = 60.0


class Line(Protocol):
    """The waiting line, as the pulse knows it."""

    @property
    def is_empty(self) -> bool:
        """True while nobody waits."""
        ...

    def concern(self, events: Sequence[Event]) -> None:
        """This has happened, in this order; try those who wait for it."""
        ...

    def look_again(self) -> None:
        """More has happened than is told; try everybody."""
        ...

    def due(self, now: datetime) -> datetime | None:
        """Do what is due by the clock; the instant at which something is again."""
        ...


class LivePulse:
    """Satisfies `edge.settings.Pulse`."""

    def __init__(
        self, store: Store, feed: Feed, line: Line, *, passed_on: Callable[[float], None] | None = None
    ) -> None:
        """Nothing is looked at before the first beat. `passed_on` is told how many seconds after the event that was."""
        self._passed_on = passed_on
        self._store = store
        self._feed = feed
        self._line = line
        self._version: int | None = None
        self._cursor: int | None = None
        self._untold: list[Event] = []

    @property
    def is_wanted(self) -> bool:
        """False while nobody waits or listens."""
        return not (self._feed.is_empty and self._line.is_empty)

    def beat(self) -> float:
        """Pass on what was committed, do what is due; seconds until the next call at the latest."""
        if not self.is_wanted:
            self._cursor = None
            self._untold = []
            return _IDLE_S
        self._publish()
        # What this thread holds may yet be undone, and would be seen: nobody is told of it before it is committed.
        if not self._store.has_held:
            self._look()
        now = self._store.now()
        line_due = self._line.due(now)
        if self._store.has_held:  # somebody's turn has come, who is not to wait for all who listen
            return 0.0
        self._publish()
        if self._feed.catch_up():
            return 0.0
        instants = [instant for instant in (line_due, self._feed.due(now)) if instant is not None]
        return min([LOOK_S, *(max(0.0, (instant - now).total_seconds()) for instant in instants)])

    def _publish(self) -> None:
        untold, self._untold = self._untold, []
        self._feed.publish(untold)

    def _look(self) -> None:
        # Asked for before the events are read: what is committed in between is looked at once more, and not missed.
        version = self._store.version()
        if version == self._version and self._cursor is not None:
            return
        # Where anything fails on the way, the next beat takes nothing for told.
        start, self._cursor = self._cursor, None
        events: list[Event] | None = None
        with self._store.read() as tx:
            latest = tx.latest_seq()
            if start is not None and 0 <= latest - start <= _MOST_PAGES * PAGE:
                events = tx.events_after(start, _MOST_PAGES * PAGE) if latest > start else []
        if events is None:
            self._feed.reach(latest)
            self._line.look_again()
        elif events:
            self._untold = events
            if self._passed_on is not None:
                self._passed_on((self._store.now() - events[0].at).total_seconds())
            self._line.concern(events)
        self._cursor, self._version = latest, version
