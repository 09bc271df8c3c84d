"""The reports in the XML of JUnit, which CI systems read: a suite for each server, a case for each probe."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from holdfast.inspector.notes import Level
from holdfast.inspector.probing.probe import PROBES, ProbeResult, Verdict
from holdfast.inspector.probing.report import ServerReport

__all__ = ["as_junit"]

_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_junit(reports: Sequence[ServerReport]) -> str:
    """Bad findings and warnings are failures; what is merely worth knowing is output of a case that passes."""
    suites = "".join(_suite(report) for report in reports)
    return f'<?xml version="1.0" encoding="utf-8"?>\n<testsuites name="holdfast probe">\n{suites}</testsuites>\n'


def _suite(report: ServerReport) -> str:
    cases = "".join(_case(report, result) for result in report.results)
    failed = sum(result.level in {Level.BAD, Level.WARN} for result in report.results)
    return (
        f'  <testsuite name="{_text(report.url)}" tests="{len(report.results)}" failures="{failed}" '
        f'errors="{report.count(Verdict.ERROR)}" skipped="{report.count(Verdict.NOT_APPLICABLE)}" '
        f'time="{report.seconds}" timestamp="{report.started_at:%Y-%m-%dT%H:%M:%S}">\n{cases}  </testsuite>\n'
    )


def _case(report: ServerReport, result: ProbeResult) -> str:
    inside = "".join(_inside(result))
    head = f'    <testcase classname="{_text(report.url)}" name="{result.id}" time="{result.seconds}"'
    return f"{head}>{inside}</testcase>\n" if inside else f"{head}/>\n"


def _inside(result: ProbeResult) -> Iterator[str]:
    if result.verdict is Verdict.NOT_APPLICABLE:
        yield f'<skipped message="{_text(result.reason)}"/>'
    elif result.verdict is Verdict.ERROR:
        yield f'<error message="{_text(result.reason)}"/>'
    elif result.verdict is Verdict.FAILED:
        source = PROBES[result.id].source
        first = result.findings[0]
        text = _text(
            "\n\n".join(f"{one.summary}\n\n{one.sent}\n\n{one.came}" for one in result.findings) + f"\n\n{source.link}"
        )
        if result.level in {Level.BAD, Level.WARN}:
            yield f'<failure type="{result.level}" message="{_text(first.summary)}">{text}</failure>'
        else:
            yield f"<system-out>{text}</system-out>"


def _text(text: str) -> str:
    return escape(_NO_XML.sub("\ufffd", text))
