"""Write docs/inspector-and-httplint.md: what httplint and Holdfast's rules say of the same exchanges, side by side.

    .venv/bin/python docs/comparison.py

The exchanges are examples of rules. `tests/inspector/test_comparison.py` fails while the page differs from what this would write.
"""

# ruff: noqa: INP001 (a script beside the page that it writes)
from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # before site-packages, where others have left a package of the name `tests`

from holdfast.inspector.generic import PASSED_OVER, generic_notes  # noqa: E402 - after the path
from holdfast.inspector.inspected import Inspected  # noqa: E402
from holdfast.inspector.inspecting import findings_of  # noqa: E402
from holdfast.inspector.notes import Level, Note, note_of  # noqa: E402
from holdfast.inspector.rules import RULES  # noqa: E402
from tests.inspector.examples import EXAMPLES, example  # noqa: E402

PAGE: Final = Path(__file__).parent / "inspector-and-httplint.md"

# Notes on the examples themselves, and what is said of most of them alike.
_OF_THE_EXAMPLE: Final = frozenset(
    {"httplint:MISSING_USER_AGENT", "httplint:DATE_CORRECT", "httplint:STORE_METHOD_UNCACHEABLE"}
)
_PREFIX: Final = "httplint:"


_INTRODUCTION: Final = """\
The inspector's generic notes are those of [httplint](https://github.com/mnot/httplint), which knows HTTP's fields well and
widely. It is not made for WebDAV, nor for 423. Here both look at the same exchanges, the examples of the
[rules](rules/README.md). Left out are what httplint says of most of them alike (no User-Agent, a right clock, answers to PUT
and LOCK are not kept by caches), and those of Holdfast's notes that are only worth knowing, unless they are the point."""

_LEFT_OUT: Final = """\
`holdfast inspect` shows what httplint finds, but for the notes in this table. Those on the form of Retry-After, Date and
Content-Range are left out, too (H01, H04, R06 and R09 judge it), and so is that Accept and Accept-Encoding are no fields of a
response: they may list what is supported (RFC 9110 section 15.5.16)."""


class Spot(NamedTuple):
    """Something that httplint does not see, or sees otherwise; `rule` and `name` say which example shows it."""

    title: str
    rule: str
    name: str = "fires"
    remark: str = ""


MISSED: Final = (
    Spot("A 423 that caches may repeat", "H05", remark="To httplint freshness is freshness, whatever the status says."),
    Spot("A Lock-Token on a refusal", "H09", remark="httplint has no parser for any of WebDAV's fields."),
    Spot("An ETag that names the refusal", "H08"),
    Spot("Retry-After that is neither seconds nor a date", "H01"),
    Spot("Retry-After far beyond the end of the lock", "H02"),
    Spot("No Date on a 423", "H04", remark="httplint warns; below 500 it is a MUST for an origin with a clock."),
    Spot("Retry-After that a script of another origin cannot read", "H11"),
    Spot("Prefer: wait that had no effect", "H13"),
    Spot("DAV and Allow that contradict each other", "H14"),
    Spot("An If header that can never hold, answered 423", "S02"),
    Spot("A read that is refused as locked", "S01"),
    Spot("A lock in the way, told as 403", "S03"),
    Spot(
        "XML that is not well-formed",
        "L01",
        remark="httplint looks into no body, but for its coding, charset and kind.",
    ),
    Spot("lock-token-submitted without an href", "L04"),
    Spot("The wrong precondition code", "L05"),
    Spot("Problem details whose members are of the wrong type", "P01"),
    Spot("Problem details with another status", "P02"),
    Spot("A 207 whose parts are not whole", "R17"),
    Spot("A 401 without WWW-Authenticate", "R01"),
    Spot("A 405 without Allow", "R02"),
    Spot("A 426 without Upgrade", "R04"),
    Spot("A 451 without who blocks", "R14"),
    Spot("A 507 that asks to be repeated", "R20"),
    Spot(
        "A 404 that caches may keep on a guess",
        "R22",
        remark="httplint's list of such statuses lacks 204, 308, 404, 405, 414 and 501.",
    ),
)
"""What httplint is silent about, or takes for less than it is."""

ACCUSED: Final = (
    Spot("A 412 to WebDAV's If", "S02", "passes", "If is a condition, too (RFC 4918 section 10.4)."),
    Spot(
        "A code that is not registered",
        "R23",
        remark="Clients treat it as the x00 of its class: worth knowing, and no fault.",
    ),
)
"""What httplint finds fault with, and Holdfast does not, or less."""


def page() -> str:
    """The whole page."""
    parts = [
        "# The inspector and httplint",
        _INTRODUCTION,
        f"Written by `docs/comparison.py` with httplint {version('httplint')}; a test fails while it is not up to date.",
        "## What httplint does not see",
        _table(MISSED),
        "## What httplint finds fault with that is right, or nearly so",
        _table(ACCUSED),
        "## What is left out of its notes",
        _LEFT_OUT,
        _left_out(),
    ]
    return "\n\n".join(parts) + "\n"


def _table(spots: tuple[Spot, ...]) -> str:
    rows = [
        f"| {spot.title} ([exchange](rules/{spot.rule}.md)){': ' + spot.remark if spot.remark else ''} "
        f"| {_cell(said_by_httplint(spot))} | {_cell(said_by_holdfast(spot))} |"
        for spot in spots
    ]
    return "\n".join(["| exchange | httplint | Holdfast's rules |", "|---|---|---|", *rows])


def said_by_httplint(spot: Spot) -> list[Note]:
    """All of its notes, those that the inspector leaves out included."""
    found = generic_notes(Inspected(example(spot.rule, spot.name)), everything=True)
    assert found is not None, "httplint is not installed"
    return [note for note in found if note.rule not in _OF_THE_EXAMPLE]


def said_by_holdfast(spot: Spot) -> list[Note]:
    """What the rules find, praise left out, the rule of the example first."""
    inspected = Inspected(example(spot.rule, spot.name))
    found = [note_of(one, finding) for one in RULES.values() for finding in findings_of(one, inspected)]
    kept = [
        note
        for note in found
        if note.level is not Level.GOOD and (note.level is not Level.INFO or note.rule == spot.rule)
    ]
    return sorted(kept, key=lambda note: (note.rule != spot.rule, note.rule))


def _cell(notes: list[Note]) -> str:
    return "<br>".join(f"{_name(note)} ({note.level}): {_escaped(note.summary)}" for note in notes) or "nothing"


def _name(note: Note) -> str:
    return (
        f"`{note.rule.removeprefix(_PREFIX)}`"
        if note.rule.startswith(_PREFIX)
        else f"[{note.rule}](rules/{note.rule}.md)"
    )


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _left_out() -> str:
    reasons: dict[str, list[str]] = {}
    for name, reason in PASSED_OVER.items():
        reasons.setdefault(reason, []).append(f"`{name}`")
    rows = [f"| {', '.join(names)} | {_escaped(reason)} |" for reason, names in reasons.items()]
    return "\n".join(["| note | why |", "|---|---|", *rows])


def main() -> None:
    """Write the page."""
    assert EXAMPLES.is_dir()
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
