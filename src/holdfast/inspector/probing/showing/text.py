"""The reports as lines for a terminal: what is wrong first, and side by side where there are several servers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from holdfast.inspector.notes import Level
from holdfast.inspector.probing.probe import PROBES, ProbeFinding, ProbeResult, Verdict
from holdfast.inspector.probing.report import ServerReport
from holdfast.wire.sentences import clean

__all__ = ["Line", "mark", "side_by_side", "summary", "text_lines"]

_ORDER = {Level.BAD: 0, Level.WARN: 1, Level.INFO: 2}
_MARKS = {Verdict.PASSED: "ok", Verdict.NOT_APPLICABLE: "-", Verdict.ERROR: "error"}


class Line(NamedTuple):
    """One line; `style` is a level, `head`, `dim` or empty."""

    text: str
    style: str = ""


def mark(result: ProbeResult | None) -> str:
    """A result in a word: ok, bad, warn, info, error, `-` where it is not applicable; empty where it was not run."""
    if result is None:
        return ""
    return result.level.value if result.level is not None else _MARKS.get(result.verdict, "")


def text_lines(report: ServerReport, *, wire: bool = False) -> Iterator[Line]:
    """One server; with `wire` also what was sent and what came."""
    names = " and ".join(clean(name, 60) for name in report.principals) or "nobody in particular"
    server = clean(report.server, 100) or "a server that does not say what it is"
    yield Line(f"{report.url}: {server}, DAV: {clean(report.classes, 100) or '(nothing)'}; as {names}", "head")
    yield Line("")
    failed = [result for result in report.results if result.verdict is Verdict.FAILED]
    for result in sorted(failed, key=lambda one: _ORDER.get(one.level or Level.INFO, 3)):
        yield from _failed(result, wire=wire)
    for result in report.results:
        if result.verdict is Verdict.ERROR:
            yield Line(f"error {result.id}: {clean(result.reason, 300)}")
    yield from _left_out(report)
    for sentence in report.leftovers:
        yield Line(f"left behind: {clean(sentence, 300)}", Level.WARN.value)
    for sentence in report.notes:
        yield Line(sentence, "dim")
    yield Line(summary(report), "head")


def summary(report: ServerReport) -> str:
    """How it went, in a line."""
    levels = ", ".join(f"{sum(1 for _ in report.findings(level))} {level}" for level in _ORDER)
    return (
        f"{len(report.results)} probes in {report.seconds:.1f} s: {report.count(Verdict.PASSED)} passed, "
        f"{report.count(Verdict.FAILED)} failed (findings: {levels}), "
        f"{report.count(Verdict.NOT_APPLICABLE)} not applicable, {report.count(Verdict.ERROR)} undecided."
    )


def side_by_side(reports: Sequence[ServerReport]) -> list[tuple[str, ...]]:
    """A table: its head, then a row for each probe that did not simply pass everywhere."""
    rows: list[tuple[str, ...]] = [("PROBE", *(report.url for report in reports))]
    for probe_id in PROBES:
        marks = [mark(report.result(probe_id)) for report in reports]
        if any(word not in {"ok", "-", ""} for word in marks):
            rows.append((probe_id, *marks))
    return rows


def _left_out(report: ServerReport) -> Iterator[Line]:
    """Each reason once, with the probe or how many they are; what a note says is not said again."""
    reasons: dict[str, list[str]] = {}
    for result in report.results:
        if result.verdict is Verdict.NOT_APPLICABLE and not any(result.reason in note for note in report.notes):
            reasons.setdefault(result.reason, []).append(result.id)
    for reason, ids in reasons.items():
        about = ids[0] if len(ids) == 1 else f"{len(ids)} probes"
        yield Line(f"-     {about}: {clean(reason, 300)}", "dim")


def _failed(result: ProbeResult, *, wire: bool) -> Iterator[Line]:
    probe = PROBES[result.id]
    level = (result.level or Level.INFO).value
    yield Line(f"{level:5} {result.id}: {probe.title}", level)
    for finding in result.findings:
        yield Line(f"      {clean(finding.summary, 400)}")
        yield from _wire(finding) if wire else ()
    if probe.why:
        yield Line(f"      {probe.why}", "dim")
    yield Line(f"      {probe.source}: {probe.source.link}", "dim")
    yield Line("")


def _wire(finding: ProbeFinding) -> Iterator[Line]:
    for sign, text in ((">", finding.sent), ("<", finding.came)):
        for line in text.splitlines():
            yield Line(f"        {sign} {clean(line, 400)}", "dim")
