"""What the server itself recorded of a run, its feed of events, held against the rules of the line and of locks.

Owns: the entries of the feed, and the checks that need the server's own order of things: it tells who stood in line, and
where, also of requests whose clients cannot know. Each check is a pure function from a history to sentences. Must not know:
how the feed is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.histories.history import Ask, Entry, History, conflict

__all__ = [
    "FEED_CHECKS",
    "feed_disagrees_with_clients",
    "feed_has_overlaps",
    "feed_is_slow",
    "feed_is_sluggish",
    "feed_is_unfair",
    "feed_is_unordered",
]

SERVICE_S = 2.0
USUAL_S = 0.1
LAPSED = "no sign of life from who waited"


@dataclass(frozen=True, slots=True)
class _Stay:
    """One lock, or one place in line: from the entry with which it began to the one with which it ended, if there is one."""

    ask: Ask
    begun: Entry
    ended: Entry | None

    def is_over_before(self, entry: Entry) -> bool:
        return self.ended is not None and self.ended.seq < entry.seq

    @property
    def was_alive(self) -> bool:
        """Whether somebody saw to it until its end: a lapse, and an expiry, are noticed at some time after they happen."""
        return self.ended is not None and self.ended.kind != "expired" and self.ended.reason != LAPSED


def _locks(entries: Iterable[Entry]) -> list[_Stay]:
    return _stays(entries, "granted", {"released", "expired", "destroyed", "broken"})


def _places(entries: Iterable[Entry]) -> list[_Stay]:
    return _stays(entries, "queued", {"granted", "left"})


def _stays(entries: Iterable[Entry], begin: str, ends: set[str]) -> list[_Stay]:
    open_ones: dict[str, Entry] = {}
    found: list[_Stay] = []
    for entry in entries:
        if entry.kind == begin:
            open_ones[entry.lock_id] = entry
        elif entry.kind in ends and entry.lock_id in open_ones:
            begun = open_ones.pop(entry.lock_id)
            found.append(_Stay(_ask(begun), begun, entry))
    found += [_Stay(_ask(begun), begun, None) for begun in open_ones.values()]
    return sorted(found, key=lambda stay: stay.begun.seq)


def _ask(entry: Entry) -> Ask:
    return Ask(entry.root, entry.scope, entry.depth, id=entry.lock_id)


def feed_is_unordered(history: History) -> list[str]:
    """Numbers of entries, their times, and the fencing tokens of grants rise from entry to entry."""
    found = [f"After {first} comes {then}." for first, then in pairwise(history.entries) if then.seq <= first.seq]
    found += [
        f"After {first} comes the earlier {then}." for first, then in pairwise(history.entries) if then.at < first.at
    ]
    grants = [entry for entry in history.entries if entry.kind == "granted"]
    found += [f"After {first} is granted {then}." for first, then in pairwise(grants) if then.fencing <= first.fencing]
    return found


def feed_disagrees_with_clients(history: History) -> list[str]:
    """Whatever a client was told to have is in the feed, with its fencing token, within the time of its request."""
    granted = {entry.lock_id: entry for entry in history.entries if entry.kind == "granted"}
    found: list[str] = []
    for grant in history.grants if history.entries else []:
        entry = granted.get(grant.lock_id)
        if entry is None:
            found.append(f"Not in the feed: {grant}.")
        elif entry.fencing != grant.fencing or not grant.begun_at - 0.1 <= entry.at <= grant.answered_at + 0.1:
            found.append(f"The feed says {entry} of {grant}, asked for at {grant.begun_at:.3f}.")
    return found


def feed_has_overlaps(history: History) -> list[str]:
    """No conflicting lock is granted between the grant of a lock and its release."""
    found: list[str] = []
    open_ones: list[_Stay] = []
    for stay in _locks(history.entries):
        open_ones = [other for other in open_ones if not other.is_over_before(stay.begun)]
        found += [
            f"Granted {stay.begun}, while {other.begun} was held until {other.ended}."
            for other in open_ones
            if other.was_alive and conflict(other.ask, stay.ask)
        ]
        open_ones.append(stay)
    return found


def feed_is_unfair(history: History) -> list[str]:
    """Nobody is granted a lock while somebody who conflicts with it stands before him in line."""
    found: list[str] = []
    places = _places(history.entries)
    own = {place.ended.seq: place.begun for place in places if place.ended is not None}
    for lock in _locks(history.entries):
        since = own.get(lock.begun.seq, lock.begun).seq
        found += [
            f"Granted {lock.begun}, before {place.begun}, who was in line until {place.ended}."
            for place in places
            if place.begun.seq < since and place.was_alive and not place.is_over_before(lock.begun)
            if place.ask.id != lock.ask.id and conflict(place.ask, lock.ask)
        ]
    return found


def feed_is_slow(history: History, service_s: float = SERVICE_S) -> list[str]:
    """Whoever is parked is granted soon after the last thing in his way has ended, or gave up before that."""
    return [
        f"{place.begun} waited until {place.ended}, with nothing in the way for {delay:.3f} s."
        for place, delay in _delays(history)
        if delay > service_s
    ]


def feed_is_sluggish(history: History, usual_s: float = USUAL_S) -> list[str]:
    """Half of all who are parked are granted at once, as a release wakes them, and not when somebody looks again."""
    delays = sorted(
        delay for place, delay in _delays(history) if place.ended is not None and place.ended.kind == "granted"
    )
    if len(delays) < 5 or delays[len(delays) // 2] <= usual_s:
        return []
    return [f"Half of {len(delays)} hand-overs took longer than {delays[len(delays) // 2]:.3f} s."]


def _delays(history: History) -> list[tuple[_Stay, float]]:
    """Places of parked requests, each with the seconds from the end of the last thing in its way to its own end."""
    found: list[tuple[_Stay, float]] = []
    locks, places = _locks(history.entries), _places(history.entries)
    for place in places:
        if place.ended is None or not place.was_alive or place.ask.id in history.chosen_ids:
            continue  # who polls is not there to be served between two requests
        free_from = _free_from(place, locks, places)
        if free_from is None:
            continue
        if not any(outage.start < place.ended.at and outage.end > free_from for outage in history.outages):
            found.append((place, place.ended.at - free_from))
    return found


def _free_from(place: _Stay, locks: Sequence[_Stay], places: Sequence[_Stay]) -> float | None:
    """When the last thing in the way of a place was over; None where it never was."""
    ended = place.ended
    assert ended is not None
    free_from = place.begun.at
    before = [other for other in places if other.begun.seq < place.begun.seq]
    for other in (*before, *(lock for lock in locks if lock.begun.seq < ended.seq)):
        if conflict(other.ask, place.ask) and not other.is_over_before(place.begun):
            if other.ended is None or other.ended.at >= ended.at:
                return None
            free_from = max(free_from, other.ended.at)
    return free_from


FEED_CHECKS = (
    feed_is_unordered,
    feed_disagrees_with_clients,
    feed_has_overlaps,
    feed_is_unfair,
    feed_is_slow,
    feed_is_sluggish,
)
"""Every check of the feed."""
