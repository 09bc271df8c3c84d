"""Reports as JSON: the members of Report, with where each came from and the score in words."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from holdfast.inspector.showing.shown import Shown

__all__ = ["as_builtins", "as_json"]

# Beside what JSON escapes itself: further control characters, marks that turn the direction of writing, surrogates.
_UNFIT: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def as_builtins(shown: Shown) -> dict[str, Any]:
    """One report as what JSON has."""
    report: dict[str, Any] = msgspec.to_builtins(shown.report)
    return {"source": shown.source, "explanation": shown.report.explanation, **report}


def as_json(shown: Sequence[Shown]) -> str:
    """`{"reports": [...]}`, always a list, in several lines; what a terminal would act on is escaped."""
    text = json.dumps({"reports": [as_builtins(each) for each in shown]}, indent=2, ensure_ascii=False)
    return _UNFIT.sub(_escaped, text) + "\n"


def _escaped(match: re.Match[str]) -> str:
    """The character as JSON can have it anywhere in a string: a lone surrogate is none at all."""
    code = ord(match[0])
    return "\\ufffd" if 0xD800 <= code <= 0xDFFF else f"\\u{code:04x}"
