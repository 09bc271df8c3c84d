"""The reports as JSON: stable names, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from holdfast.inspector.probing.probe import PROBES, Verdict
from holdfast.inspector.probing.report import ServerReport

__all__ = ["as_json"]


def as_json(reports: Sequence[ServerReport]) -> str:
    """An object with `servers`, each with its `results`, each with what its probe says of itself."""
    whole = {"servers": [_server(report) for report in reports]}
    return msgspec.json.format(msgspec.json.encode(whole), indent=2).decode() + "\n"


def _server(report: ServerReport) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(report)
    told["counts"] = {verdict.value: report.count(verdict) for verdict in Verdict}
    for result in told["results"]:
        probe = PROBES[result["id"]]
        result |= {
            "title": probe.title,
            "level": probe.level.value,
            "source": str(probe.source),
            "link": probe.source.link,
        }
    return told
