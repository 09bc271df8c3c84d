"""A store whose time stands still, events to put into it, and a client of a stream that is a list."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from holdfast.core.model import Depth, Event, EventKind, LockScope
from holdfast.core.paths import ResourcePath
from holdfast.live.feed import Feed
from holdfast.store.memory import MemoryStore
from holdfast.testing.manual_time import ManualTime

__all__ = ["Ears", "World", "event_on", "everything"]


def everything(event: Event) -> bool:
    return True


def event_on(root: str, at: datetime, kind: EventKind = EventKind.GRANTED) -> Event:
    return Event(
        seq=0,
        at=at,
        kind=kind,
        lock_id=f"on-{root.rpartition('/')[2]}",
        root=ResourcePath(root),
        scope=LockScope.EXCLUSIVE,
        depth=Depth.ZERO,
        holder="anna",
        actor="anna",
        reason="",
        fencing_token=1,
    )


class Ears:
    """A Sink that keeps what it hears. `patience` is how many more chunks it takes before it is cut off; None: all."""

    def __init__(self, patience: int | None = None) -> None:
        self.heard: list[bytes] = []
        self.is_over = False
        self.has_room = True
        self.patience = patience

    def send(self, data: bytes) -> bool:
        assert not self.is_over, "nothing is sent after the end"
        if self.patience is not None:
            if not self.patience:
                return False
            self.patience -= 1
        self.heard.append(data)
        return True

    def end(self) -> None:
        assert not self.is_over
        self.is_over = True

    @property
    def text(self) -> str:
        return b"".join(self.heard).decode()

    @property
    def entries(self) -> list[dict[str, str]]:
        """The fields of each entry that has data."""
        found: list[dict[str, str]] = []
        for block in self.text.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
            if "data" in fields:
                found.append(fields)
        return found

    @property
    def seqs(self) -> list[int]:
        return [int(fields["id"]) for fields in self.entries]

    @property
    def last_event_id(self) -> int:
        """What a browser would send when it comes back."""
        lines = self.text.rpartition("\n\n")[0].split("\n")
        return int(next(line for line in reversed(lines) if line.startswith("id: "))[4:])


class World:
    """A memory store, and a feed over it that writes each event as its lock's id."""

    def __init__(self, tell: Callable[[Event], bytes] | None = None, **settings: object) -> None:
        self.time = ManualTime()
        self.store = MemoryStore(self.time.clock())
        self.written: list[int] = []
        self.feed = Feed(self.store, tell or self._tell, **settings)  # type: ignore[arg-type]

    def _tell(self, event: Event) -> bytes:
        self.written.append(event.seq)
        return event.lock_id.encode()

    def happen(self, *roots: str, kind: EventKind = EventKind.GRANTED) -> list[Event]:
        """Let an event happen on each of these roots, in one transaction; what the store kept of it."""
        with self.store.write() as tx:
            before = tx.latest_seq()
            for root in roots:
                tx.append(event_on(root, tx.now, kind))
        with self.store.read() as tx:
            return tx.events_after(before, len(roots))

    def tell(self, *roots: str, kind: EventKind = EventKind.GRANTED) -> None:
        """Let it happen, and publish it at once, as the pulse does."""
        self.feed.publish(self.happen(*roots, kind=kind))

    def trim(self) -> None:
        """Forget every event that has happened."""
        with self.store.write() as tx:
            tx.trim_events(self.store.now() + timedelta(microseconds=1))

    def listen(
        self,
        after: int | None = None,
        admits: Callable[[Event], bool] = everything,
        ears: Ears | None = None,
    ) -> Ears:
        ears = ears or Ears()
        reader = self.feed.open(admits, after)
        assert reader is not None
        reader.start(ears)
        return ears

    def catch_up(self) -> int:
        """Until nobody is behind; how many pages it took."""
        pages = 1
        while self.feed.catch_up():
            pages += 1
        return pages
