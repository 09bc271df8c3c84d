"""What every form is made from, and what the forms share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from holdfast.inspector.inspecting import Report
from holdfast.inspector.notes import Level, Note

__all__ = ["Shown", "counted", "heading", "plain", "reaches", "worst_of"]

# Control characters, among them ESC of terminals and what XML 1.0 does not have; marks that turn the direction of writing; surrogates.
_UNFIT: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_ORDER: Final = {level: place for place, level in enumerate(Level)}


class Shown(msgspec.Struct, frozen=True):
    """A report, and where its exchange came from: a URL, a file's name, `standard input`."""

    source: str
    report: Report


def plain(text: str) -> str:
    """The text without characters that do something instead of being seen."""
    return _UNFIT.sub("\ufffd", text)


def heading(shown: Shown) -> str:
    """What was inspected, in a line: `PUT http://h/plan.odt: 423 Locked`."""
    report = shown.report
    asked = f"{report.method} {report.url or shown.source}".strip()
    return plain(f"{asked}: {report.status} {report.reason}".rstrip())


def counted(report: Report) -> str:
    """How many notes of each level there are: `2 bad, 1 info`."""
    parts = [f"{report.counts[level]} {level}" for level in Level if report.counts.get(level)]
    return ", ".join(parts) or "no notes"


def reaches(note: Note, threshold: Level | None) -> bool:
    """True where the note is at least as grave as `threshold`; None is a threshold that none reaches."""
    return threshold is not None and _ORDER[note.level] <= _ORDER[threshold]


def worst_of(shown: Sequence[Shown]) -> Level | None:
    """The gravest level of all notes; None without any."""
    levels = [note.level for each in shown for note in each.report.notes]
    return min(levels, key=_ORDER.__getitem__) if levels else None
