"""The reports as one HTML page that stands alone: a table side by side, and every finding with what was sent and what came."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files

import jinja2

from holdfast.inspector.probing.probe import PROBES
from holdfast.inspector.probing.report import ServerReport
from holdfast.inspector.probing.showing.text import mark, summary
from holdfast.inspector.showing.marked import words

__all__ = ["as_html"]


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    source = files("holdfast.inspector.probing.showing").joinpath("page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["words"] = words
    return environment.from_string(source)


def as_html(reports: Sequence[ServerReport]) -> str:
    """The page."""
    probes = [probe for probe in PROBES.values() if any(report.result(probe.id) for report in reports)]
    return _template().render(reports=reports, probes=probes, mark=mark, summary=summary)
