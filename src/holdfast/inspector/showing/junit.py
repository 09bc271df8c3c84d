"""Reports as JUnit XML, which build servers show: a suite for each exchange, a case for each note."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from holdfast.inspector.notes import Level, Note
from holdfast.inspector.showing.shown import Shown, heading, plain, reaches

__all__ = ["as_junit"]


def as_junit(shown: Sequence[Shown], threshold: Level | None) -> str:
    """The document. A note that reaches `threshold` is a failure, any other a case that passed and says what it is."""
    suites = ET.Element("testsuites", name="holdfast inspect")
    for each in shown:
        report = each.report
        failed = sum(reaches(note, threshold) for note in report.notes)
        suite = ET.SubElement(
            suites,
            "testsuite",
            name=heading(each),
            tests=str(len(report.notes) + 1),
            failures=str(failed),
            errors="0",
            skipped="0",
            timestamp=report.inspected_at.replace(microsecond=0, tzinfo=None).isoformat(),
        )
        first = ET.SubElement(suite, "testcase", classname="holdfast.inspect", name="inspected")
        ET.SubElement(first, "system-out").text = plain(report.explanation)
        for note in report.notes:
            _add(suite, note, is_failure=reaches(note, threshold))
    ET.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def _add(suite: ET.Element, note: Note, *, is_failure: bool) -> None:
    about = f" ({note.subject})" if note.subject else ""
    name = plain(f"{note.rule} {note.summary}{about}")
    case = ET.SubElement(suite, "testcase", classname=f"holdfast.inspect.{note.level}", name=name)
    words = [note.why, note.mend, *(f"{source}: {source.link}" for source in note.sources)]
    text = plain("\n".join(word for word in words if word))
    if is_failure:
        ET.SubElement(case, "failure", type=note.level.value, message=plain(note.summary)).text = text
    elif text:
        ET.SubElement(case, "system-out").text = text
