"""The waiting line of one process: requests that are parked until their turn comes, or their wait is over.

Owns: which of them to try when something has happened or an instant has come, their deadlines, and renewing their
places while they wait. Must not know: HTTP, or what a try does; it is a function of the face that parked the request, and
runs the whole acquire again. Whose turn it is, is decided in the store's transaction (`turns`), where all processes meet.

Theory of operation. Parked requests stand in groups, one for each root, in the order of the line. An event that may end
somebody's wait marks the groups that it can concern, and a marked group is tried from its front, up to the first request
behind which nobody of the group can be granted: so one release costs a try or two, however many wait. What is still waiting
says when to look again if nothing happens (what is in the way expires, or lapses), and the group is marked then.
What ends without an event, such as a time that was shortened, is found by looking now and then.
A beat makes a bounded number of tries; what is left is due at once again.

Used on the edge's thread alone, inside `Store.hold`; only `park` may be called on any thread.
"""

from __future__ import annotations

import enum
import heapq
import itertools
import logging
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from holdfast.core.decisions import Refusal
from holdfast.core.model import LOCK_ENDS, Depth, Event, EventKind, LockScope, Waiter
from holdfast.service import LockService, Queued, Stay
from holdfast.store.protocol import StoreError
from holdfast.turns import GIVEN_UP, RENEW_EVERY
from holdfast.wire.exchange import Pending, Response
from holdfast.wire.problem import render_refusal

__all__ = ["MOST_TRIES", "GivenUpError", "LineObserver", "Parked", "WaitingLine"]

_logger = logging.getLogger("holdfast.live")

MOST_TRIES: Final = 64
"""Requests that one beat tries: some ten milliseconds."""

_LOOK: Final = timedelta(seconds=2)
"""Every group is looked at as often as this, and with very many groups less often (`_LOOK_EACH`)."""

_LOOK_EACH: Final = timedelta(milliseconds=2)

_REFUSED: Final = 400
"""The status from which on an answer is no grant."""

_AFTER_FAILURE: Final = timedelta(seconds=1)

Try = Callable[[Stay], Response | Queued]
"""Run the whole acquire again: the answer, or Queued, which is possible for PARKED alone. May raise."""

_COST_OF_END: Final = 4
"""Tries as which one counts that ends a wait: it counts the line, to tell the place."""

_TURNS: Final = LOCK_ENDS | {EventKind.LEFT, EventKind.BREAKING}
"""What may end somebody's wait, or bring its end nearer."""

_DEPTHS: Final = (Depth.ZERO, Depth.INFINITY)
_FEW: Final = 64  # entries of a queue beyond twice those that count, before the others are dropped


class GivenUpError(Exception):
    """The place in line of this request was given up by another request of its principal."""

    def __init__(self) -> None:
        """The text is a sentence for people."""
        super().__init__("Your place in line was given up by another request of yours; you got no lock.")


class _Stage(enum.Enum):
    NEW = "nobody has asked for its answer yet"
    WAITING = "it is in its group"
    OVER = "it is answered, or nobody waits any more"


class Parked:
    """One request that waits; satisfies `wire.exchange.Pending`."""

    __slots__ = ("_answer", "_line", "deadline", "failed", "first", "keeps_place", "stage", "try_", "waiter")

    def __init__(
        self,
        line: WaitingLine,
        waiter: Waiter,
        try_: Try,
        failed: Callable[[Exception], Response],
        deadline: datetime,
        *,
        keeps_place: bool,
    ) -> None:
        """Made by `WaitingLine.park`."""
        self._line = line
        self._answer: Callable[[Response], None] | None = None
        self.waiter = waiter
        self.first = waiter  # the place that it came with, whichever it has later
        self.try_ = try_
        self.failed = failed
        self.deadline = deadline
        self.keeps_place = keeps_place
        self.stage = _Stage.NEW

    def start(self, answer: Callable[[Response], None]) -> None:
        """Wait from now on."""
        if self.stage is _Stage.NEW:
            self._answer = answer
            self.stage = _Stage.WAITING
            self._line._add(self)

    def abandon(self) -> None:
        """The client is gone."""
        if self._close():
            self._line._give_up(self)

    def hasten(self) -> None:
        """The server stops."""
        if self.stage is _Stage.WAITING:
            self._line._end(self)

    def answer(self, response: Response) -> None:
        """Its wait is over; to be called once it stands in no group any more."""
        if self._close() and self._answer is not None:
            self._line._note_answer(self, response)
            self._answer(response)

    def _close(self) -> bool:
        """True for whoever ends it, once."""
        was_open = self.stage is not _Stage.OVER
        if self.stage is _Stage.WAITING:
            self._line._remove(self)
        self.stage = _Stage.OVER
        return was_open


class _Group:
    """Those who wait for locks on one root, by their places in line; `look_at` is when to look again by itself."""

    __slots__ = ("look_at", "members")

    def __init__(self) -> None:
        self.members: list[Parked] = []
        self.look_at: datetime | None = None


class LineObserver(Protocol):
    """Told of what the line does, in seconds; each call must be very brief."""

    def waited(self, seconds: float, *, granted: bool) -> None:
        """A request that stood in line for so long was answered."""
        ...

    def handed_over(self, seconds: float) -> None:
        """A waiter's turn came so long after the event that made room for it."""
        ...


class WaitingLine:
    """All requests that are parked with this process. Satisfies what `live.pulse` asks of a line."""

    def __init__(
        self,
        service: LockService,
        now: Callable[[], datetime],
        *,
        longest: timedelta = timedelta(seconds=300),
        observer: LineObserver | None = None,
    ) -> None:
        """Nobody waits yet. `now` is the store's clock, `longest` the longest wait that is granted."""
        self._service = service
        self._now = now
        self.longest = longest
        self._observer = observer
        self._freed: dict[str, datetime] = {}  # when the event happened by which a marked group was marked last
        self._groups: dict[str, _Group] = {}
        self._roots: list[str] = []  # the keys of `_groups`, sorted: what is below a path lies side by side
        self._marked: dict[str, None] = {}  # groups that are to be tried, in the order in which they were marked
        self._deadlines: list[tuple[datetime, int, Parked]] = []
        self._looks: list[tuple[datetime, int, str]] = []
        self._numbers = itertools.count()
        self._count = 0
        self._renew_at: datetime | None = None

    def __len__(self) -> int:
        """How many wait."""
        return self._count

    @property
    def is_empty(self) -> bool:
        """True while nobody waits."""
        return not self._groups

    @property
    def come_back_s(self) -> int:
        """Whole seconds within which one whose place is kept does well to come back."""
        return max(1, int(self._service.place_kept.total_seconds() / 2))

    def park(
        self,
        waiter: Waiter,
        try_: Try,
        *,
        failed: Callable[[Exception], Response],
        wait: timedelta,
        keeps_place: bool,
    ) -> Pending:
        """A request that stands in line as `waiter` waits until `try_` gives an answer, at most for `wait`, and `longest`.

        Its last try is KEPT with `keeps_place`, else LAST. What a try raises becomes an answer by `failed`, which
        raises what it does not know. Safe from any thread.
        """
        deadline = self._now() + min(wait, self.longest)
        return Parked(self, waiter, try_, failed, deadline, keeps_place=keeps_place)

    # -- what happens ---------------------------------------------------------------------------------

    def concern(self, events: Sequence[Event]) -> None:
        """This has happened, in this order; try those who may have waited for it."""
        for event in events:
            if event.kind in _TURNS:
                self._mark_near(event)
            if event.kind is EventKind.LEFT and event.reason == GIVEN_UP:
                self._end_given_up(event)
        self._try_marked(MOST_TRIES)

    def look_again(self) -> None:
        """More has happened than is told: try everybody."""
        self._marked.update(dict.fromkeys(self._groups))

    def due(self, now: datetime) -> datetime | None:
        """Do what is due by the clock; the instant at which something is again."""
        while self._looks and self._looks[0][0] <= now:
            at, _, root = heapq.heappop(self._looks)
            if self._is_to_look(root, at):
                self._groups[root].look_at = None
                self._marked[root] = None
        left = self._try_marked(MOST_TRIES)
        while left > 0 and self._deadlines and self._deadlines[0][0] <= now:
            parked = heapq.heappop(self._deadlines)[2]
            if parked.stage is _Stage.WAITING:
                left -= _COST_OF_END
                self._end(parked)
        self._renew(now)
        if self.is_empty:
            self._forget_all()
            return None
        if self._marked or (self._deadlines and self._deadlines[0][0] <= now):
            return now
        instants = [queue[0][0] for queue in (self._deadlines, self._looks) if queue]
        return min([*instants, self._renew_at or now])

    def _mark_near(self, event: Event) -> None:
        """Mark the groups on the lineage of the event's root, and below it."""
        if not self._groups:
            return
        root = event.root
        for text in root.lineage:
            if text in self._groups:
                self._marked[text] = None
                self._freed[text] = event.at
        roots = self._roots
        for index in range(bisect_left(roots, root.prefix), len(roots)):
            if not roots[index].startswith(root.prefix):
                break
            self._marked[roots[index]] = None
            self._freed[roots[index]] = event.at

    def _end_given_up(self, event: Event) -> None:
        """Tell who waits with this place; a request that came later with the same id has another."""
        group = self._groups.get(event.root.text)
        for parked in list(group.members) if group is not None else ():
            if event.lock_id in {parked.first.id, parked.waiter.id} and parked.first.enqueued_at <= event.at:
                if parked.waiter.enqueued_at > event.at:  # it was tried before this was heard, and took a new one
                    self._leave(parked, "its place was given up")
                parked.answer(self._told(parked, GivenUpError()))

    def _renew(self, now: datetime) -> None:
        if self._renew_at is None or now < self._renew_at:
            return
        self._renew_at = now + RENEW_EVERY
        ids = {parked.waiter.id for group in self._groups.values() for parked in group.members}
        if ids:
            try:
                self._service.renew(list(ids))
            except StoreError as error:
                # Tried again in time for most troubles; a place that is lost all the same is taken anew.
                _logger.error("the places of %d waiting requests were not renewed: %s", len(ids), error)  # noqa: TRY400
                self._renew_at = now + _AFTER_FAILURE

    # -- tries ----------------------------------------------------------------------------------------

    def _try_marked(self, most: int) -> int:
        """Try the marked groups; how many of so many tries are left. A group that is not through stays marked."""
        left = most
        while self._marked and left > 0:
            root = next(iter(self._marked))
            del self._marked[root]
            group = self._groups.get(root)
            if group is not None:
                left = self._try_group(root, group, left)
            if root not in self._marked:
                self._freed.pop(root, None)
        return left

    def _try_group(self, root: str, group: _Group, left: int) -> int:
        """Try its members from the front, as far as any can be granted; how many tries are left."""
        blocked = _Blocked()
        looks: list[datetime] = []
        members = group.members
        index = 0
        while index < len(members) and not blocked.is_all:
            parked = members[index]
            if blocked.bars(parked.waiter):
                index += 1
                continue
            if left <= 0:
                self._marked[root] = None
                break
            left -= 1
            found = self._try(parked, Stay.PARKED)
            if isinstance(found, Response):
                self._note_turn(root, found)
                parked.answer(found)  # which takes it out of the group
                continue
            if found is None:
                looks.append(self._now() + _AFTER_FAILURE)
                break
            if self._has_moved(parked, found.waiter):
                continue
            if found.look_at is not None:
                looks.append(found.look_at)
            blocked.add(found)
            index += 1
        self._look_later(root, looks)
        return left

    def _note_turn(self, root: str, response: Response) -> None:
        freed = self._freed.get(root)
        if self._observer is not None and freed is not None and response.status < _REFUSED:
            self._observer.handed_over((self._now() - freed).total_seconds())

    def _note_answer(self, parked: Parked, response: Response) -> None:
        if self._observer is not None:
            seconds = (self._now() - parked.waiter.enqueued_at).total_seconds()
            self._observer.waited(seconds, granted=response.status < _REFUSED)

    def _try(self, parked: Parked, stay: Stay) -> Response | Queued | None:
        """What a try brings; None where the store could not be used, which may be over soon."""
        try:
            return parked.try_(stay)
        except StoreError as error:
            if stay is Stay.PARKED:
                _logger.error("a waiting request could not be tried: %s", error)  # noqa: TRY400
                return None
            return self._failure(parked, error)
        except Exception as error:  # noqa: BLE001 - whatever a face raises is answered
            return self._failure(parked, error)

    def _failure(self, parked: Parked, error: Exception) -> Response:
        """The answer in place of what was raised; what the try changed is undone, so the place is given up here."""
        self._leave(parked, "its request failed")
        return self._told(parked, error)

    def _told(self, parked: Parked, error: Exception) -> Response:
        try:
            return parked.failed(error)
        except Exception:
            _logger.exception("a waiting request failed and was answered 500")
            return render_refusal(500, "", "The server failed to handle this request; its log says more.")

    def _has_moved(self, parked: Parked, waiter: Waiter) -> bool:
        """True where it had lost its place, and stands at the end of the line now."""
        if waiter.seq == parked.waiter.seq:
            return False
        self._remove(parked)
        parked.waiter = waiter
        self._add(parked)
        return True

    def _look_later(self, root: str, looks: Iterable[datetime]) -> None:
        group = self._groups.get(root)
        if group is None:
            return
        now = self._now()
        latest = now + max(_LOOK, len(self._groups) * _LOOK_EACH)
        # Not before a moment is over, lest a look that finds nothing new be due again at once.
        look_at = max(min([latest, *looks]), now + timedelta(milliseconds=1))
        if group.look_at is None or group.look_at <= now or look_at < group.look_at:
            group.look_at = look_at
            if len(self._looks) > 2 * len(self._groups) + _FEW:
                self._looks = [item for item in self._looks if self._is_to_look(item[2], item[0])]
                heapq.heapify(self._looks)
            heapq.heappush(self._looks, (look_at, next(self._numbers), root))

    def _is_to_look(self, root: str, at: datetime) -> bool:
        group = self._groups.get(root)
        return group is not None and group.look_at == at

    def _end(self, parked: Parked) -> None:
        """Its wait is over: one more try, and the answer, whatever it is."""
        found = self._try(parked, Stay.KEPT if parked.keeps_place else Stay.LAST)
        assert isinstance(found, Response)
        parked.answer(found)

    # -- who waits ------------------------------------------------------------------------------------

    def _add(self, parked: Parked) -> None:
        root = parked.waiter.root.text
        group = self._groups.get(root)
        if group is None:
            group = self._groups[root] = _Group()
            insort(self._roots, root)
        insort(group.members, parked, key=_place)
        self._count += 1
        if len(self._deadlines) > 2 * self._count + _FEW:
            # Those who were answered before their time must not be remembered until then.
            self._deadlines = [item for item in self._deadlines if item[2].stage is _Stage.WAITING]
            heapq.heapify(self._deadlines)
        heapq.heappush(self._deadlines, (parked.deadline, next(self._numbers), parked))
        # What it waits for may have ended since it was queued, and been told before it was here.
        self._marked[root] = None
        if self._renew_at is None:
            self._renew_at = self._now() + RENEW_EVERY

    def _remove(self, parked: Parked) -> None:
        root = parked.waiter.root.text
        group = self._groups[root]
        members = group.members
        index = bisect_left(members, parked.waiter.seq, key=_place)
        while members[index] is not parked:
            index += 1
        del members[index]
        self._count -= 1
        if not members:
            del self._groups[root]
            del self._roots[bisect_left(self._roots, root)]
            self._marked.pop(root, None)

    def _give_up(self, parked: Parked) -> None:
        """Nobody waits for its answer any more."""
        if not parked.keeps_place:
            self._leave(parked, "its client went away")
            return
        try:
            self._service.keep_place(parked.waiter.id)
        except StoreError as error:
            _logger.error("a place in line lapses early: %s", error)  # noqa: TRY400

    def _leave(self, parked: Parked, reason: str) -> None:
        try:
            self._service.leave(parked.waiter.id, reason)
        except StoreError as error:
            _logger.error("a place in line was not given up, and lapses: %s", error)  # noqa: TRY400

    def _forget_all(self) -> None:
        self._deadlines.clear()
        self._looks.clear()
        self._marked.clear()
        self._freed.clear()
        self._renew_at = None


class _Blocked:
    """What cannot be granted any more in one group, because of those of it who still wait."""

    __slots__ = ("_barred",)

    def __init__(self) -> None:
        self._barred: set[tuple[LockScope, Depth]] = set()

    @property
    def is_all(self) -> bool:
        """True where nobody further back can be granted."""
        return len(self._barred) == len(LockScope) * len(_DEPTHS)

    def bars(self, waiter: Waiter) -> bool:
        """True where this one would only be refused."""
        return (waiter.scope, waiter.depth) in self._barred

    def add(self, queued: Queued) -> None:
        """This one still waits."""
        waiter = queued.waiter
        if waiter.scope is LockScope.EXCLUSIVE:
            self._barred.update(itertools.product(LockScope, _DEPTHS))
            return
        self._barred.update((LockScope.EXCLUSIVE, depth) for depth in _DEPTHS)
        if queued.refused.refusal is Refusal.CONFLICT:
            # What is in its way is in the way of all who ask for as much. Not so a lock on the parent,
            # of which another may have submitted the token.
            self._barred.add((LockScope.SHARED, Depth.INFINITY))
            if waiter.depth is Depth.ZERO:
                self._barred.add((LockScope.SHARED, Depth.ZERO))


def _place(parked: Parked) -> int:
    return parked.waiter.seq
