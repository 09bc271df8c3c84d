"""A recorded history: operations of clients with their beginnings and ends, and the grants that they make up.

Owns: reading what clients wrote, and what may be concluded of one lock alone: when its holder may have believed to hold
it, and when it may have been held at all. Instants are seconds of CLOCK_MONOTONIC, the same for all processes.
Must not know: the server's code. Its rules are written down here a second time, as plainly as possible.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

__all__ = ["Ask", "Entry", "Grant", "History", "Operation", "Span", "conflict", "read_history"]

Kind = Literal["acquire", "refresh", "release"]


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` to before `end`."""

    start: float
    end: float

    def meets(self, other: Span) -> bool:
        """True where the two have some time in common."""
        return max(self.start, other.start) < min(self.end, other.end)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a lock was asked to be. `ttl` and `wait` in seconds; `id` is empty where the client chose none."""

    resource: str
    scope: str = "exclusive"
    depth: str = "0"
    ttl: float = 1.0
    wait: float = 0.0
    id: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One request. `status` 0: nobody knows what became of it, as its answer never came (then `end` is when that was known)."""

    client: str
    kind: Kind
    start: float
    end: float
    status: int = 0
    ask: Ask | None = None
    lock_id: str = ""
    fencing: int | None = None
    position: int | None = None

    @property
    def is_refused(self) -> bool:
        """Answered, and without a lock."""
        return self.kind == "acquire" and self.status == 423

    @property
    def is_unknown(self) -> bool:
        """Served or not: its client does not know."""
        return self.status == 0 or (self.status >= 500 and self.status != 507)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the server's feed of events; `at` on the clock of the clients, `fencing` 0 where there is no lock."""

    seq: int
    at: float
    kind: str
    lock_id: str
    root: str
    scope: str = "exclusive"
    depth: str = "0"
    fencing: int = 0
    reason: str = ""


def conflict(first: Ask, second: Ask) -> bool:
    """True where both cannot be held at once (RFC 4918 sections 6.1 and 9.10.5)."""
    if first.scope == second.scope == "shared":
        return False
    if first.resource == second.resource:
        return True
    above = first.depth == "infinity" and second.resource.startswith(first.resource + "/")
    below = second.depth == "infinity" and first.resource.startswith(second.resource + "/")
    return above or below


@dataclass(frozen=True, slots=True)
class Grant:
    """One lock, as its client saw it."""

    lock_id: str
    ask: Ask
    fencing: int
    acquires: tuple[Operation, ...]
    refreshes: tuple[Operation, ...] = ()
    releases: tuple[Operation, ...] = ()

    @property
    def begun_at(self) -> float:
        """Before this it cannot have been granted."""
        return min(one.start for one in self.acquires)

    @property
    def answered_at(self) -> float:
        """After this it must have been granted."""
        return min(one.end for one in self.acquires if one.fencing is not None)

    @property
    def believed(self) -> Span:
        """When its client may act on it: from the answer, to its release or to the end that it can reckon with.

        A client counts from the sending of the request that set the time, for it does not know when that was served.
        """
        ends = [self.begun_at + self.ask.ttl]
        ends += [one.start + self.ask.ttl for one in self.refreshes if one.status == 200]
        return Span(self.answered_at, min([max(ends), *(one.start for one in self.releases)]))

    @property
    def possible(self) -> Span:
        """When it may have been held by the server, at the most."""
        released = [one.end for one in self.releases if one.status in {204, 404, 410}]
        latest = max(one.end for one in (*self.acquires, *self.refreshes)) + self.ask.ttl
        return Span(self.begun_at, min([latest, *released]))

    def __str__(self) -> str:
        """For the text of a violation."""
        span = self.believed
        return (
            f"{self.acquires[0].client}'s {self.ask.scope} lock {self.lock_id} (fencing token {self.fencing}) on "
            f"{self.ask.resource} depth {self.ask.depth}, believed from {span.start:.3f} to {span.end:.3f}"
        )


@dataclass(frozen=True)
class History:
    """All operations of a run, and what was done to the processes meanwhile."""

    operations: tuple[Operation, ...]
    outages: tuple[Span, ...] = ()
    """From the killing of the server until it answers again."""
    stopped: dict[str, tuple[Span, ...]] = field(default_factory=dict[str, tuple[Span, ...]])
    """When a client was stopped, by its name."""
    entries: tuple[Entry, ...] = ()
    """The server's feed."""

    @cached_property
    def chosen_ids(self) -> set[str]:
        """The ids that clients chose, with which they may poll."""
        return {one.ask.id for one in self.operations if one.ask is not None and one.ask.id}

    @cached_property
    def acquires(self) -> list[Operation]:
        """The operations that asked for a lock, by their beginning."""
        return sorted((one for one in self.operations if one.kind == "acquire"), key=lambda one: one.start)

    @cached_property
    def grants(self) -> list[Grant]:
        """Every lock that some client was told to have, by the time of its answer."""
        same_id: dict[str, list[Operation]] = {}
        others: dict[tuple[str, str], list[Operation]] = {}
        for one in self.operations:
            if one.kind == "acquire":
                same_id.setdefault(_id_of(one), []).append(one)
            else:
                others.setdefault((one.kind, one.lock_id), []).append(one)
        found: list[Grant] = []
        for lock_id, acquires in same_id.items():
            granted = next((one for one in acquires if one.fencing is not None), None)
            if lock_id and granted is not None and granted.ask is not None and granted.fencing is not None:
                refreshes = tuple(others.get(("refresh", lock_id), ()))
                releases = tuple(others.get(("release", lock_id), ()))
                found.append(Grant(lock_id, granted.ask, granted.fencing, tuple(acquires), refreshes, releases))
        return sorted(found, key=lambda grant: grant.answered_at)

    @cached_property
    def unknown(self) -> list[tuple[Ask, Span]]:
        """Locks that may have been granted without their client ever hearing of it, and when they may have been held."""
        told = {grant.lock_id for grant in self.grants}
        return [
            (one.ask, Span(one.start, one.end + one.ask.ttl))
            for one in self.acquires
            if one.ask is not None and one.is_unknown and _id_of(one) not in told
        ]


def _id_of(one: Operation) -> str:
    return one.lock_id or (one.ask.id if one.ask is not None else "")


def read_history(
    lines: Iterable[str],
    *,
    killed: dict[str, float] | None = None,
    outages: Sequence[Span] = (),
    stopped: dict[str, tuple[Span, ...]] | None = None,
    entries: Sequence[Entry] = (),
) -> History:
    """What clients wrote, a line for the beginning of an operation and one for its end.

    An operation without an end was under way when its client was killed: `killed` says when, by the client's name. A last
    line that is not whole is left out, as what it says was not yet done.
    """
    started: dict[tuple[str, int], dict[str, object]] = {}
    ended: dict[tuple[str, int], dict[str, object]] = {}
    for line in lines:
        if line.endswith("}\n"):
            record = json.loads(line)
            (started if "start" in record else ended)[record["client"], record["number"]] = record
    operations = tuple(
        _operation(record, ended.get(key, {"end": (killed or {}).get(key[0], math.inf)}))
        for key, record in started.items()
    )
    return History(operations, tuple(outages), stopped or {}, tuple(entries))


def _operation(begun: dict[str, object], answer: dict[str, object]) -> Operation:
    kind: Kind = begun["kind"]  # type: ignore[assignment]
    names = ("resource", "scope", "depth", "ttl", "wait", "id")
    ask = Ask(**{name: begun[name] for name in names if name in begun}) if kind == "acquire" else None  # type: ignore[arg-type]
    merged = begun | answer
    return Operation(
        client=str(merged["client"]),
        kind=kind,
        start=float(merged["start"]),  # type: ignore[arg-type]
        end=float(merged["end"]),  # type: ignore[arg-type]
        status=int(answer.get("status", 0)),  # type: ignore[call-overload]
        ask=ask,
        lock_id=str(merged.get("id", "")),
        fencing=answer.get("fencing"),  # type: ignore[arg-type]
        position=answer.get("position"),  # type: ignore[arg-type]
    )
