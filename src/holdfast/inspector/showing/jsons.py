"""Reports as JSON: the members of Report, with where each came from and the score in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from holdfast.inspector.showing.shown import Shown

__all__ = ["as_builtins", "as_json"]


def as_builtins(shown: Shown) -> dict[str, Any]:
    """One report as what JSON has."""
    report: dict[str, Any] = msgspec.to_builtins(shown.report)
    return {"source": shown.source, "explanation": shown.report.explanation, **report}


def as_json(shown: Sequence[Shown]) -> str:
    """`{"reports": [...]}`, always a list, in several lines."""
    # A lone surrogate has no place in JSON text; a file's name on disk may hold one.
    document = msgspec.json.encode({"reports": [_sayable(as_builtins(each)) for each in shown]})
    return msgspec.json.format(document, indent=2).decode() + "\n"


def _sayable(value: dict[str, Any]) -> dict[str, Any]:
    source = str(value["source"]).encode("utf-8", "replace").decode()
    return {**value, "source": source}
