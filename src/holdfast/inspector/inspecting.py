"""Inspecting an exchange: every rule is asked, and what they found becomes a report.

Owns: the order of the notes, the score and what it is made of. Must not know: any rule, how an exchange was come by, or how a report
is shown. A rule that fails costs its own notes and is named in the report; it never costs the rest.

>>> from holdfast.inspector.exchange import Exchange, ReceivedResponse
>>> report = inspect(Exchange(response=ReceivedResponse(status=423)), generic=False)
>>> report.status, report.generic.value
(423, 'off')
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Final

import msgspec

from holdfast.inspector.behaviour import Statement, behaviour
from holdfast.inspector.budget import Budget
from holdfast.inspector.exchange import Exchange
from holdfast.inspector.generic import generic_notes
from holdfast.inspector.inspected import Inspected
from holdfast.inspector.notes import Finding, Level, Note, Rule, note_of
from holdfast.inspector.rules import RULES

__all__ = ["NOT_JUDGED", "PRICES", "Cost", "Generic", "Report", "RuleFailure", "findings_of", "inspect"]

PRICES: Final = {Level.BAD: 25, Level.WARN: 8, Level.INFO: 2, Level.GOOD: 0}
"""What a rule takes from the 100 points, once, by the worst that it found."""

NOT_JUDGED: Final = "not-judged"
"""In the place of a rule's id: the note about what there was no room or time to judge. It takes nothing from the score."""

_GENERIC_PRICES: Final = {Level.BAD: 10, Level.WARN: 3, Level.INFO: 0, Level.GOOD: 0}
_GENERIC: Final = "httplint:"
_ORDER: Final = {level: place for place, level in enumerate(Level)}
_MOST: Final = 20


class Generic(enum.StrEnum):
    """Whether the generic notes are among the others: they are made by httplint, an extra that may be absent."""

    PRESENT = "present"
    ABSENT = "absent"
    OFF = "off"


class Cost(msgspec.Struct, frozen=True):
    """What one rule took from the score, in points, and for what."""

    points: int
    rule: str
    level: Level
    reason: str


class RuleFailure(msgspec.Struct, frozen=True):
    """A rule that could not judge the exchange, and the error that it met: a fault of the inspector, not of the server."""

    rule: str
    error: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one exchange.

    `method` and `url` are empty where the request is not known. `notes` begin with the worst. `score` is 100 less the `costs`,
    and never below 0. `counts` has each level, by its name. `inspected_at` is the wall time that the rules went by.
    """

    method: str
    url: str
    status: int
    reason: str
    inspected_at: datetime
    notes: tuple[Note, ...]
    counts: dict[str, int]
    score: int
    costs: tuple[Cost, ...]
    behaviour: tuple[Statement, ...]
    generic: Generic
    failures: tuple[RuleFailure, ...] = ()

    @property
    def worst(self) -> Level | None:
        """The worst level among the notes; None without notes."""
        return self.notes[0].level if self.notes else None

    @property
    def explanation(self) -> str:
        """The score in a sentence: what it is made of."""
        part = " Not everything was judged." if any(note.rule == NOT_JUDGED for note in self.notes) else ""
        if not self.costs:
            return f"{self.score} of 100: nothing to mend was found.{part}"
        spent = ", ".join(f"{cost.points} for {cost.rule} ({cost.level})" for cost in self.costs)
        return f"{self.score} of 100: 100 less {spent}.{part}"


def inspect(
    exchange: Exchange, *, now: datetime | None = None, generic: bool = True, budget: Budget | None = None
) -> Report:
    """Ask every rule about the exchange, and httplint too unless `generic` is False. Raises for no exchange.

    `now` is the wall time, aware, that stands in where the exchange does not say when it came; None is this moment. `budget`
    bounds the work, for several exchanges together where they are given the same; what it leaves no room for becomes a note.
    """
    inspected = Inspected(exchange, now or datetime.now(UTC), budget)
    notes: list[Note] = []
    failures: list[RuleFailure] = []
    unasked: list[str] = []
    for one in sorted(RULES.values(), key=_id):
        if inspected.budget.is_over:
            unasked.append(one.id)
            continue
        try:
            notes += [note_of(one, finding) for finding in findings_of(one, inspected)]
        except Exception as error:  # noqa: BLE001 - a fault of one rule must not cost the report; it is told in it
            failures.append(RuleFailure(one.id, f"{type(error).__name__}: {error}"))
    state = Generic.OFF
    if generic and inspected.budget.is_over:
        unasked.append("httplint")
    elif generic:
        found = generic_notes(inspected)
        state = Generic.ABSENT if found is None else Generic.PRESENT
        notes += found or ()
    notes += _not_judged(inspected, unasked)
    notes.sort(key=lambda note: (_ORDER[note.level], note.rule.startswith(_GENERIC), note.rule))
    costs = tuple(_costs(notes))
    request, response = exchange.request, exchange.response
    return Report(
        method=exchange.method,
        url="" if request is None else request.url,
        status=response.status,
        reason=response.reason,
        inspected_at=inspected.now,
        notes=tuple(notes),
        counts={level.value: sum(note.level is level for note in notes) for level in Level},
        score=max(0, 100 - sum(cost.points for cost in costs)),
        costs=costs,
        behaviour=() if inspected.budget.is_over else behaviour(inspected),
        generic=state,
        failures=tuple(failures),
    )


def findings_of(one: Rule, inspected: Inspected) -> Iterator[Finding]:
    """What the rule finds: each finding once, and no more of them than a person would read."""
    found = dict.fromkeys(islice(one.check(inspected), 10 * _MOST))
    yield from islice(found, _MOST)
    if len(found) > _MOST:
        yield Finding(f"The same is wrong in {len(found) - _MOST} or more places beside these", "body")


def _not_judged(inspected: Inspected, unasked: list[str]) -> Iterator[Note]:
    if inspected.left_out:
        said = f"The body is not judged, only the head: {inspected.left_out}"
        yield Note(rule=NOT_JUDGED, level=Level.INFO, summary=said, subject="body")
    if len(unasked) >= len(RULES):
        said = "Nothing of this response was judged: the time for inspecting was over before"
        yield Note(rule=NOT_JUDGED, level=Level.INFO, summary=said)
    elif unasked:
        said = f"These were not asked, for the time for inspecting was over: {', '.join(unasked)}"
        yield Note(rule=NOT_JUDGED, level=Level.INFO, summary=said)


def _costs(notes: Iterable[Note]) -> Iterator[Cost]:
    """Each rule once, by its worst note; the notes begin with the worst."""
    seen: set[str] = set()
    for note in notes:
        prices = _GENERIC_PRICES if note.rule.startswith(_GENERIC) else PRICES
        if note.rule != NOT_JUDGED and prices[note.level] and note.rule not in seen:
            seen.add(note.rule)
            yield Cost(prices[note.level], note.rule, note.level, note.summary)


def _id(one: Rule) -> str:
    return one.id
