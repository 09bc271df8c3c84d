"""Reports as text, for a terminal with colours or a pipe without.

Owns: the layout: what was inspected, the score, each note with why it matters and how to mend it, what clients will do. Where it
goes to a pipe or a file, no line is broken, so that a script can read it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from holdfast.inspector.inspecting import Generic
from holdfast.inspector.notes import Level, Note, Rule
from holdfast.inspector.showing.shown import Shown, counted, heading, plain

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["as_text", "show", "show_rule"]

_STYLES: Final = {Level.BAD: "bold red", Level.WARN: "yellow", Level.INFO: "blue", Level.GOOD: "green"}
_WIDEST: Final = 110
_HTTPLINT: Final = "pip install 'holdfast[inspector]'; in a checkout: .venv/bin/pip install -e '.[inspector]'"
_INDENT: Final = " " * 11

Line = tuple[str, str]
"""A style and a text."""


def as_text(shown: Sequence[Shown], *, is_brief: bool = False) -> str:
    """The text without colours."""
    return "\n".join("".join(text for _, text in line) for line in _lines(shown, None, is_brief=is_brief)) + "\n"


def show(console: Console, shown: Sequence[Shown], *, is_brief: bool = False) -> None:
    """Print to a console of rich: with colours, and lines as wide as it is, where it is a terminal."""
    width = min(console.width, _WIDEST) if console.is_terminal else None
    _print(console, _lines(shown, width, is_brief=is_brief))


def show_rule(console: Console, rule: Rule) -> None:
    """Print what a rule asks, why, how to mend it, and where that is written."""
    width = min(console.width, _WIDEST) if console.is_terminal else None
    head: list[Line] = [(_STYLES[rule.level], f"{rule.level:<5}"), ("bold", f"{rule.id:<6}{rule.title}")]
    note = Note(rule=rule.id, level=rule.level, summary="", why=rule.why, mend=rule.mend, sources=rule.sources)
    _print(console, [head, *_explained(note, width)])


def _print(console: Console, lines: Iterable[list[Line]]) -> None:
    from rich.text import Text  # rich is for terminals alone: the other forms do without it

    for line in lines:
        shown = Text()
        for style, text in line:
            shown.append(text, style)
        console.print(shown, soft_wrap=True, highlight=False)


def _lines(shown: Sequence[Shown], width: int | None, *, is_brief: bool) -> Iterator[list[Line]]:
    for place, each in enumerate(shown):
        if place:
            yield []
        yield from _of_one(each, width, is_brief=is_brief)


def _of_one(shown: Shown, width: int | None, *, is_brief: bool) -> Iterator[list[Line]]:
    report = shown.report
    yield [("bold", heading(shown))]
    yield [(_score_style(report.score), f"Score {report.score} of 100"), ("", f"   {counted(report)}")]
    if not is_brief:
        yield []
    for note in report.notes:
        yield _head(note)
        if not is_brief and note.level is not Level.GOOD:  # what is right needs no mending
            yield from _explained(note, width)
            yield []
    if is_brief:
        return
    if report.notes and report.notes[-1].level is Level.GOOD:
        yield []
    if report.behaviour:
        yield [("bold", "What caches, programs and people do with it")]
        longest = max(len(statement.subject) for statement in report.behaviour)
        for statement in report.behaviour:
            start = f"  {plain(statement.subject):<{longest}}  "
            yield from _wrapped(start, statement.sentence, width)
        yield []
    yield [("dim", plain(report.explanation))]
    if report.generic is Generic.ABSENT:
        yield [("dim", f"The generic HTTP notes are left out: they need httplint ({_HTTPLINT}).")]
    for failure in report.failures:
        yield [
            (
                "dim",
                f"The rule {failure.rule} could not judge this, which is a fault of the inspector: {plain(failure.error)}",
            )
        ]


def _head(note: Note) -> list[Line]:
    subject = f"  [{_one_line(note.subject)}]" if note.subject else ""
    return [
        (_STYLES[note.level], f"{note.level:<5}"),
        ("bold", f"{_one_line(note.rule):<5} "),
        ("", _one_line(note.summary)),
        ("dim", subject),
    ]


def _explained(note: Note, width: int | None) -> Iterator[list[Line]]:
    if note.why:
        yield from _wrapped(f"{_INDENT}Why   ", note.why, width)
    if note.mend:
        yield from _wrapped(f"{_INDENT}Mend  ", note.mend, width)
    for source in note.sources:
        link = f"  {_one_line(source.link)}" if source.link else ""
        yield [("dim", f"{_INDENT}See   {_one_line(str(source))}{link}")]


def _wrapped(start: str, text: str, width: int | None) -> Iterator[list[Line]]:
    """The text behind `start`, further lines below its beginning."""
    said = _one_line(text)
    if width is None or width < len(start) + 20:
        yield [("dim", start), ("", said)]
        return
    lines = textwrap.wrap(said, width - len(start), break_long_words=False, break_on_hyphens=False) or [""]
    yield [("dim", start), ("", lines[0])]
    for line in lines[1:]:
        yield [("", " " * len(start) + line)]


def _one_line(text: str) -> str:
    return " ".join(plain(text).split())


def _score_style(score: int) -> str:
    if score >= 90:
        return "bold green"
    return "bold yellow" if score >= 60 else "bold red"
