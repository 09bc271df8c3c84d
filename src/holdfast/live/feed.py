"""The live feed: what happens to locks, sent to all who listen to this process, as it happens (Server-Sent Events).

Owns: who listens, how far each has got, and the lines of an event stream (WHATWG HTML, section 9.2). Must not know:
HTTP, JSON, roles; what one event looks like, and who may see it, are functions that it is given.

Theory of operation. `publish` is given each event once, in order; the seq of the last is the feed's cursor. A reader
that has got as far as the cursor is live: what is published is written once and sent to all live readers that it is
for. One that has not is behind, because it comes back with the seq of the last event that it had, and reads what it missed from the store,
a page at a time (`catch_up`), until it reaches the cursor. Since every reader knows the seq that it has got to, nothing is
lost or repeated wherever the two meet. One page serves all readers that stand within it, so that many who come
back at once, after a restart, cost little more than one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from holdfast.core.model import Event, EventKind
from holdfast.core.paths import ResourcePath
from holdfast.store.protocol import ReadTransaction, Store
from holdfast.wire.exchange import Sink

__all__ = ["HEARTBEAT", "PAGE", "RETRY_MS", "EventFilter", "Feed", "Reader"]

RETRY_MS: Final = 2000
"""Milliseconds after which a client that lost its stream comes back."""

HEARTBEAT: Final = timedelta(seconds=15)
"""How often something is sent to every reader, so that a connection which has died is noticed on both ends."""

PAGE: Final = 500
"""Events that are read from the store at once."""

# A comment, and no empty line behind it: some clients take every empty line for an event.
_COMMENT: Final = b":\n"
_MOST_LOOKS: Final = 40 * PAGE
"""How often at most a reader is asked about an event before others have their turn: some 20 ms."""

_MOST_AT_ONCE: Final = 32 * 1024
"""Bytes, and one event more, after which a reader is looked at again whether it has room."""

_UNTOLD: Final = 1000
"""Events that were not for a reader, after which it is told how far it has got nonetheless."""


class EventFilter(msgspec.Struct, frozen=True):
    """Which events are asked for; all that is given must fit. No kinds: every kind."""

    under: ResourcePath | None = None
    kinds: frozenset[EventKind] = frozenset()
    lock_id: str | None = None
    principal: str | None = None
    """Who did it, or whose lock it is about."""

    def admits(self, event: Event) -> bool:
        """True where the event fits."""
        return (
            (self.lock_id is None or event.lock_id == self.lock_id)
            and (not self.kinds or event.kind in self.kinds)
            and (self.principal is None or self.principal in {event.holder, event.actor})
            and (self.under is None or event.root.is_at_or_below(self.under))
        )


class Reader:
    """One open stream of a Feed; satisfies `wire.exchange.Stream`. `position` is the seq that it has got to."""

    __slots__ = ("_feed", "admits", "ends_at", "is_welcome", "missing", "position", "sink", "told_seq", "was_served")

    def __init__(
        self,
        feed: Feed,
        admits: Callable[[Event], bool],
        is_welcome: Callable[[], bool],
        position: int,
        missing: int | None,
    ) -> None:
        """`missing` is the seq asked for where the events between it and `position` are not kept any more."""
        self._feed = feed
        self.admits = admits
        self.is_welcome = is_welcome
        self.position = position
        self.missing = missing
        self.told_seq = position
        self.sink: Sink | None = None
        self.ends_at: datetime | None = None
        self.was_served = False

    def start(self, sink: Sink) -> None:
        """Send to `sink` from now on."""
        self._feed._start(self, sink)

    def stop(self) -> None:
        """Send nothing any more."""
        self._feed._forget(self)


class Feed:
    """All readers of one process. `open` is safe from any thread; all else is for the edge's thread."""

    def __init__(
        self,
        store: Store,
        tell: Callable[[Event], bytes],
        *,
        most_readers: int = 2000,
        longest: timedelta = timedelta(hours=1),
    ) -> None:
        """`tell` writes an event as one line of text. `longest` is the time after which a stream ends by itself.

        The client comes back at once, and has to say again who it is.
        """
        self._store = store
        self._tell = tell
        self._most_readers = most_readers
        self._longest = longest
        self._cursor = 0
        # As ordered sets; `_readers` in the order of their ends.
        self._readers: dict[Reader, None] = {}
        self._live: dict[Reader, None] = {}
        self._behind: dict[Reader, None] = {}
        self._round: list[Reader] = []
        self._heartbeat_at: datetime | None = None

    def __len__(self) -> int:
        """How many listen."""
        return len(self._readers)

    @property
    def is_empty(self) -> bool:
        """True while nobody listens."""
        return not self._readers

    def open(
        self, admits: Callable[[Event], bool], after_seq: int | None, is_welcome: Callable[[], bool] = lambda: True
    ) -> Reader | None:
        """A stream of what fits, from just after a seq, or from now on; None where too many listen already.

        It is asked at each heartbeat, on the edge's thread, whether the reader `is_welcome`; it ends where not.
        To be called on a thread that holds no changes (`Store.hold`): it must not see what may be undone.
        """
        if len(self._readers) >= self._most_readers:
            return None
        with self._store.read() as tx:
            latest = tx.latest_seq()
            if after_seq is None:
                return Reader(self, admits, is_welcome, latest, None)
            if after_seq > latest:  # of another record than this one, such as that before a backup was put back
                return Reader(self, admits, is_welcome, latest, after_seq)
            first = _first_kept(tx)
            if first > after_seq + 1:
                return Reader(self, admits, is_welcome, first - 1, after_seq)
            return Reader(self, admits, is_welcome, after_seq, None)

    def _start(self, reader: Reader, sink: Sink) -> None:
        now = self._store.now()
        reader.sink = sink
        reader.ends_at = now + self._longest
        if not self._readers:
            self._heartbeat_at = now + HEARTBEAT
        self._readers[reader] = None
        (self._live if reader.position >= self._cursor else self._behind)[reader] = None
        # The position is told at once, so that one who hears nothing before the connection breaks misses nothing either.
        opening = b"retry: %d\nid: %d\n\n" % (RETRY_MS, reader.position)
        if reader.missing is not None:
            opening += _gap(reader.missing, reader.position)
        self._send(reader, opening)

    def _forget(self, reader: Reader) -> None:
        """Harmless when repeated."""
        self._readers.pop(reader, None)
        self._live.pop(reader, None)
        self._behind.pop(reader, None)

    def _end(self, reader: Reader) -> None:
        self._forget(reader)
        if reader.sink is not None:
            reader.sink.end()

    def _send(self, reader: Reader, data: bytes) -> None:
        if reader.sink is not None and reader in self._readers and not reader.sink.send(data):
            self._forget(reader)

    # -- what happens -------------------------------------------------------------------------------

    def publish(self, events: Sequence[Event]) -> None:
        """Send on what has happened: all events since the cursor, in order; none of them can be undone any more."""
        if not events:
            return
        if len(self._live) * len(events) > _MOST_LOOKS:
            self.reach(events[-1].seq)
            return
        self._cursor = events[-1].seq
        # One that is slow reads it from the store, once it has taken what it was sent: nothing piles up for it.
        self._deliver([reader for reader in self._live if _has_room(reader)], events)
        self._part()

    def reach(self, seq: int) -> None:
        """Move the cursor without the events between: the live readers that have not got there read them from the store."""
        self._cursor = seq
        self._part()

    def _part(self) -> None:
        """Let those that have not got as far as the cursor be behind."""
        for reader in [reader for reader in self._live if reader.position < self._cursor]:
            del self._live[reader]
            self._behind[reader] = None

    def catch_up(self) -> bool:
        """Read one page for those that are behind; True where more is to be done at once.

        To be called while nothing is held (`Store.hold`). Those behind take turns, whatever each has missed.
        """
        reader = self._next_behind()
        if reader is None:
            return False
        start = reader.position
        with self._store.read() as tx:
            page = tx.events_after(start, PAGE)
            first = _first_kept(tx) if not page or page[0].seq > start + 1 else 0
        if first > start + 1:  # what it was about to read has been trimmed away since it began
            self._send(reader, _gap(start, first - 1))
            reader.position = first - 1
        last = page[-1].seq if page else start
        served = [reader]
        served += [o for o in self._behind if o is not reader and start <= o.position <= last and _has_room(o)]
        del served[_MOST_LOOKS // PAGE :]
        self._deliver(served, page)
        for other in served:
            other.was_served = True
            if len(page) < PAGE and other.position == last:  # there is nothing more before the cursor
                other.position = max(last, self._cursor)
            if other.position >= self._cursor and other in self._behind:
                del self._behind[other]
                self._live[other] = None
        return bool(self._behind)

    def _next_behind(self) -> Reader | None:
        """Who reads the next page: in rounds, in each of which everybody is served once, who is farthest behind first."""
        for _ in range(2):
            while self._round:
                reader = self._round.pop()
                if reader in self._behind and not reader.was_served and _has_room(reader):
                    return reader
            self._round = sorted(self._behind, key=lambda reader: -reader.position)
            for reader in self._round:
                reader.was_served = False
        return None

    def _deliver(self, readers: Iterable[Reader], events: Sequence[Event]) -> None:
        """Send each reader what is for it, as far as it has room; every event is written once at most."""
        written: dict[int, bytes] = {}

        def text_of(event: Event) -> bytes:
            text = written.get(event.seq)
            if text is None:
                text = written[event.seq] = _framed(event, self._tell(event))
            return text

        for reader in readers:
            parts: list[bytes] = []
            size = 0
            for event in events:
                if event.seq <= reader.position:
                    continue
                reader.position = event.seq
                if reader.admits(event):
                    parts.append(text_of(event))
                    size += len(parts[-1])
                    reader.told_seq = event.seq
                    if size >= _MOST_AT_ONCE:
                        self._send(reader, b"".join(parts))
                        parts.clear()
                        size = 0
                        if not _has_room(reader):
                            break
            if parts:
                self._send(reader, b"".join(parts))

    # -- what time brings ---------------------------------------------------------------------------

    def due(self, now: datetime) -> datetime | None:
        """Do what is due by the clock; the instant at which something is again, None while nobody listens."""
        while self._readers:
            oldest = next(iter(self._readers))
            if oldest.ends_at is None or oldest.ends_at > now:
                break
            self._end(oldest)
        if self._heartbeat_at is not None and self._heartbeat_at <= now:
            self._heartbeat_at = now + HEARTBEAT
            for reader in list(self._readers):
                if reader.is_welcome():
                    self._send(reader, _pulse_of(reader))
                else:
                    self._end(reader)
        if not self._readers:
            return None
        ends_at = next(iter(self._readers)).ends_at
        return min((instant for instant in (self._heartbeat_at, ends_at) if instant is not None), default=None)


def _first_kept(tx: ReadTransaction) -> int:
    """The seq of the first event that is still kept; that of the next one where there is none."""
    kept = tx.events_after(0, 1)
    return kept[0].seq if kept else tx.latest_seq() + 1


def _has_room(reader: Reader) -> bool:
    return reader.sink is not None and reader.sink.has_room


def _framed(event: Event, text: bytes) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.kind.encode(), text)


def _gap(asked: int, position: int) -> bytes:
    """What somebody is told who asked for events that are not kept any more: the first seq that is."""
    text = msgspec.json.encode({"after": asked, "first": position + 1})
    return b"id: %d\nevent: gap\ndata: %s\n\n" % (position, text)


def _pulse_of(reader: Reader) -> bytes:
    """A comment; where much has passed that was not for the reader, its position, so that it need not be looked through again."""
    if reader.position - reader.told_seq < _UNTOLD:
        return _COMMENT
    reader.told_seq = reader.position
    return b"id: %d\n\n" % reader.position
