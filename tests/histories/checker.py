"""What a lock service must never do, as pure functions from a recorded history to the violations found in it.

Owns: one function a promise, each giving sentences; an empty list means that nothing speaks against the promise. A check
says only what real time proves: where the order of two things cannot be told from outside, it is silent.

`service_s` is how long a healthy server may take for what it has to do at once, on a machine under load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.histories.history import Ask, Grant, History, Operation, Span, conflict

__all__ = [
    "CHECKS",
    "believed_together",
    "granted_twice",
    "lost_while_believed",
    "missed_wakeups",
    "passed_in_line",
    "refused_without_cause",
    "tokens_against_holding",
    "tokens_against_time",
]

PLACE_KEPT_S = 20.0
"""How long the place of a client that polls with an id is kept after an answer."""
LEASE_S = 10.0
"""The most that a place outlives a request that is gone without its server's noticing."""
RENEWED_S = 6.0
"""The least that a place outlives its server: leases are renewed long before their end."""
SERVICE_S = 3.0


def believed_together(history: History) -> list[str]:
    """Mutual exclusion: no two holders of conflicting locks believe to hold them at the same time."""
    found: list[str] = []
    open_ones: list[Grant] = []
    for grant in history.grants:
        span = grant.believed
        open_ones = [other for other in open_ones if other.believed.end > span.start]
        found += [
            f"Held together: {other}; and {grant}."
            for other in open_ones
            if conflict(other.ask, grant.ask) and other.believed.meets(span)
        ]
        open_ones.append(grant)
    return found


def granted_twice(history: History) -> list[str]:
    """A fencing token is of one lock only, and a repeated request with an id gets the token that it got before."""
    found: list[str] = []
    first: dict[int, Grant] = {}
    for grant in history.grants:
        other = first.setdefault(grant.fencing, grant)
        if other is not grant:
            found.append(f"One fencing token for two locks: {other}; and {grant}.")
        given = {one.fencing for one in grant.acquires if one.fencing is not None}
        if len(given) > 1:
            found.append(f"The same request was given different fencing tokens, {sorted(given)}: {grant}.")
    return found


def tokens_against_time(history: History) -> list[str]:
    """A lock that was asked for after another one's grant had been answered has a higher fencing token."""
    found: list[str] = []
    answered = history.grants
    latest: Grant | None = None
    seen = 0
    for grant in sorted(answered, key=lambda one: one.begun_at):
        while seen < len(answered) and answered[seen].answered_at <= grant.begun_at:
            if latest is None or answered[seen].fencing > latest.fencing:
                latest = answered[seen]
            seen += 1
        if latest is not None and latest.fencing >= grant.fencing:
            found.append(f"The later one has no higher fencing token: first {latest}; then {grant}.")
    return found


def tokens_against_holding(history: History) -> list[str]:
    """Whoever held a lock after somebody else, where only one of them could, has the higher fencing token."""
    found: list[str] = []
    grants = [grant for grant in history.grants if grant.believed.start < grant.believed.end]
    for number, grant in enumerate(grants):
        for other in grants[number + 1 :]:
            is_after = grant.believed.end <= other.believed.start
            if is_after and other.fencing < grant.fencing and conflict(grant.ask, other.ask):
                found.append(f"The later holder has the lower fencing token: first {grant}; then {other}.")
    return found


def lost_while_believed(history: History) -> list[str]:
    """A lock that nobody breaks is not lost before its time: neither by a crash of the server nor by anything else."""
    return [
        f"The lock was gone at {one.end:.3f} ({one.kind}: {one.status}), while believed: {grant}."
        for grant in history.grants
        for one in (*grant.refreshes, *grant.releases)
        if one.status in {404, 409, 410} and one.end < _reckoned_end(grant, one)
        if not any(other.status in {0, 204} and other.start < one.start for other in grant.releases)
    ]


def _reckoned_end(grant: Grant, before: Operation) -> float:
    refreshed = [one.start for one in grant.refreshes if one.status == 200 and one.end <= before.start]
    return max([grant.begun_at, *refreshed]) + grant.ask.ttl


def refused_without_cause(history: History) -> list[str]:
    """A 423 has a cause: at some time of the request there may have been a lock or a waiter in the way."""
    held = _possibly_held(history)
    line = _possibly_waiting(history)
    return [
        f"{one.client} was refused {one.ask} from {one.start:.3f} to {one.end:.3f}, and nothing was in the way."
        for one in history.acquires
        if one.is_refused and one.ask is not None
        if not any(span.meets(Span(one.start, one.end)) and conflict(ask, one.ask) for ask, span in held)
        if not any(
            place.whole.meets(Span(one.start, one.end)) and conflict(place.ask, one.ask)
            for place in line
            if not place.is_of(one)
        )
    ]


@dataclass(frozen=True, slots=True)
class _Place:
    """A request that may have stood in line: while it was under way, and some time after, when nobody waits there."""

    operation: Operation
    ask: Ask
    began: float
    """Before this it was not in line."""
    whole: Span

    def is_of(self, other: Operation) -> bool:
        same_id = other.ask is not None and self.ask.id != "" and other.ask.id == self.ask.id
        return other is self.operation or same_id


def _possibly_held(history: History) -> list[tuple[Ask, Span]]:
    return [(grant.ask, grant.possible) for grant in history.grants] + history.unknown


def _possibly_waiting(history: History) -> list[_Place]:
    by_id = _by_id(history)
    granted = {grant.lock_id: grant.answered_at for grant in history.grants}
    found: list[_Place] = []
    for one in history.acquires:
        ask = one.ask
        if ask is None or (ask.wait == 0 and not ask.id):
            continue
        after = LEASE_S + 1 if one.is_unknown else PLACE_KEPT_S + 1 if one.is_refused and ask.id else 0.0
        # A later request with this id goes on with the place; a grant ends it.
        end = min(one.end + after, granted.get(ask.id, one.end + after)) if ask.id else one.end + after
        began = by_id[ask.id][0].start if ask.id else one.start
        found.append(_Place(one, ask, began, Span(one.start, max(one.end, end))))
    return found


def _by_id(history: History) -> dict[str, list[Operation]]:
    """The requests with an id that their client chose, in their order."""
    found: dict[str, list[Operation]] = {}
    for one in history.acquires:
        if one.ask is not None and one.ask.id:
            found.setdefault(one.ask.id, []).append(one)
    return found


@dataclass(frozen=True, slots=True)
class _Standing:
    """A place in line that is proven: known from an answer, held without a break until `until` at least."""

    ask: Ask
    known: Operation
    until: float
    grant: Grant | None


def passed_in_line(history: History) -> list[str]:
    """First come, first served: nobody who came after somebody stood in line, and conflicts with him, is served before."""
    found: list[str] = []
    for place in _standings(history):
        for grant in history.grants:
            if grant is place.grant or grant.begun_at <= place.known.end or not conflict(grant.ask, place.ask):
                continue
            if place.grant is not None and grant.fencing < place.grant.fencing:
                found.append(f"{place.grant} stood in line since {place.known.end:.3f} and was passed by {grant}.")
            elif place.grant is None and grant.answered_at < place.until:
                found.append(
                    f"{place.known.client} stood in line for {place.ask} from {place.known.end:.3f} until "
                    f"{place.until:.3f} and was passed by {grant}."
                )
    return found


def _standings(history: History) -> Iterable[_Standing]:
    grants = {grant.lock_id: grant for grant in history.grants}
    for lock_id, operations in _by_id(history).items():
        known = next((one for one in operations if one.is_refused and one.position is not None), None)
        if known is None or known.ask is None:
            continue
        until, is_whole = known.end, True
        for one, following in pairwise(operations[operations.index(known) :]):
            if following.start > _kept_until(one, history.outages):
                is_whole = False
                break
            if following.fencing is not None or following.position is not None:
                until = following.start
        yield _Standing(known.ask, known, until, grants.get(lock_id) if is_whole else None)


def _kept_until(one: Operation, outages: Sequence[Span]) -> float:
    """Until when the place of a request is certainly kept, seen from outside."""
    assert one.ask is not None
    if one.is_unknown:
        died = min((outage.start for outage in outages if outage.start <= one.end <= outage.end), default=one.start)
        return max(one.start, died) + RENEWED_S
    return min(one.end, one.start + one.ask.wait) + PLACE_KEPT_S - 1


def missed_wakeups(history: History, service_s: float = SERVICE_S) -> list[str]:
    """No lost wake-up: whoever waits, with nothing in the way that was held, and nobody before him, is served soon.

    Of the waiting, only those stretches count in which the server ran and the client was not stopped.
    """
    granted = [(grant, _held_soon_answered(grant, history, service_s)) for grant in history.grants]
    places = _possibly_waiting(history)
    found: list[str] = []
    for place in places:
        took = place.operation.end - place.operation.start
        if place.ask.wait == 0 or place.operation.is_unknown or took <= service_s:
            continue
        held = [(grant.ask, span) for grant, span in granted if place.operation not in grant.acquires]
        free = _longest_free(place, held + history.unknown, places, history)
        if free.end - free.start > service_s:
            found.append(
                f"{place.operation.client} waited for {place.ask} from {place.operation.start:.3f} to "
                f"{place.operation.end:.3f}, and nothing was in the way from {free.start:.3f} to {free.end:.3f}."
            )
    return found


def _held_soon_answered(grant: Grant, history: History, service_s: float) -> Span:
    """When it may have been held, if a grant is answered at once: else the granted one was left waiting, which counts."""
    answered = next(one for one in grant.acquires if one.fencing is not None)
    asked = Span(answered.start, answered.end)
    pauses = [*history.outages, *history.stopped.get(answered.client, ())]
    is_prompt = not any(one.is_unknown for one in grant.acquires) and not any(pause.meets(asked) for pause in pauses)
    begun = max(grant.begun_at, grant.answered_at - service_s) if is_prompt else grant.begun_at
    return Span(begun, max(begun, grant.possible.end))


def _longest_free(place: _Place, held: Sequence[tuple[Ask, Span]], places: Sequence[_Place], history: History) -> Span:
    """The longest stretch of a wait in which, for all that is known, it should have been served."""
    waits = Span(place.operation.start, place.operation.end)
    locks = [(ask, span) for ask, span in held if span.meets(waits)]
    others = [other for other in places if other.whole.meets(waits) and not other.is_of(place.operation)]
    pauses = [*history.outages, *history.stopped.get(place.operation.client, ())]
    marks = {waits.start, waits.end}
    for span in [*(span for _, span in locks), *(other.whole for other in others), *pauses]:
        marks |= {mark for mark in (span.start, span.end) if waits.start < mark < waits.end}
    marks |= {other.operation.end for other in others if waits.start < other.operation.end < waits.end}
    best = Span(waits.start, waits.start)
    begun: float | None = None
    for start, end in pairwise(sorted(marks)):
        piece = Span(start, end)
        if any(pause.meets(piece) for pause in pauses) or _is_blocked(place, piece, locks, others):
            begun = None
            continue
        begun = start if begun is None else begun
        if end - begun > best.end - best.start:
            best = Span(begun, end)
    return best


def _is_blocked(place: _Place, piece: Span, locks: Sequence[tuple[Ask, Span]], others: Sequence[_Place]) -> bool:
    """Whether something may have been in the way: a lock, or somebody before who was himself held up, or is gone.

    Who came well after somebody is not before him. It is the least answer that fits: of two who hold up only each other, one must be served.
    """
    now = [ask for ask, span in locks if span.meets(piece)]
    line = [other for other in others if other.whole.meets(piece)]
    blocked = {
        id(one)
        for one in (place, *line)
        if one.operation.end <= piece.start or any(conflict(ask, one.ask) for ask in now)
    }
    grew = True
    while grew and id(place) not in blocked:
        more = {
            id(one)
            for one in (place, *line)
            if id(one) not in blocked
            for other in line
            if id(other) in blocked and conflict(other.ask, one.ask) and other.began < one.operation.start + SERVICE_S
        }
        grew = bool(more)
        blocked |= more
    return id(place) in blocked


CHECKS: Sequence[Callable[[History], list[str]]] = (
    believed_together,
    granted_twice,
    tokens_against_time,
    tokens_against_holding,
    lost_while_believed,
    refused_without_cause,
    passed_in_line,
    missed_wakeups,
)
"""Every promise, in the order of what breaks first."""
