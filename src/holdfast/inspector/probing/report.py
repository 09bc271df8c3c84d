"""What a run comes to: values, in the order in which they are shown.

Owns: the report of one server and its counts. Must not know: how it is shown (`showing`), or how it was come by.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from holdfast.inspector.notes import Level
from holdfast.inspector.probing.probe import ProbeFinding, ProbeResult, Verdict

__all__ = ["ServerReport"]


class ServerReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one server.

    `server` is its Server field, `classes` its DAV field. `principals` are the names that were used. `notes` are sentences about
    the run as a whole; `leftovers` what could not be taken away again.
    """

    url: str
    server: str
    classes: str
    principals: tuple[str, ...]
    started_at: datetime
    seconds: float
    results: tuple[ProbeResult, ...]
    notes: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()

    def count(self, verdict: Verdict) -> int:
        """How many probes came to this."""
        return sum(result.verdict is verdict for result in self.results)

    def findings(self, level: Level) -> Iterator[tuple[ProbeResult, ProbeFinding]]:
        """Every finding of this level."""
        for result in self.results:
            for finding in result.findings:
                if finding.level is level:
                    yield result, finding

    def result(self, probe_id: str) -> ProbeResult | None:
        """What came of one probe; None where it was not run."""
        return next((result for result in self.results if result.id == probe_id), None)
