"""The forms by their names, and the one function that makes any of them."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final

from holdfast.inspector.notes import Level
from holdfast.inspector.showing.html import as_html
from holdfast.inspector.showing.jsons import as_json
from holdfast.inspector.showing.junit import as_junit
from holdfast.inspector.showing.sarif import as_sarif
from holdfast.inspector.showing.shown import Shown
from holdfast.inspector.showing.text import as_text

__all__ = ["FORMS", "Form", "Shown", "render"]


class Form(enum.StrEnum):
    """What a report can be shown as."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    JUNIT = "junit"
    HTML = "html"


FORMS: Final = {
    Form.TEXT: "text/plain; charset=utf-8",
    Form.JSON: "application/json",
    Form.SARIF: "application/sarif+json",
    Form.JUNIT: "application/xml",
    Form.HTML: "text/html; charset=utf-8",
}
"""Each form with its media type."""


def render(form: Form, shown: Sequence[Shown], *, threshold: Level | None = Level.BAD, is_brief: bool = False) -> str:
    """The reports in a form. `threshold` is the least grave level that is a failure (JUnit); `is_brief` a line a note (text)."""
    match form:
        case Form.TEXT:
            return as_text(shown, is_brief=is_brief)
        case Form.JSON:
            return as_json(shown)
        case Form.SARIF:
            return as_sarif(shown)
        case Form.JUNIT:
            return as_junit(shown, threshold)
        case Form.HTML:
            return as_html(shown)
