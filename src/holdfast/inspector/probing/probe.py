"""Probes: what is asked of a server's locking, and what came of it.

Owns: what a probe says of itself, the table of all probes, and the values of an outcome. Must not know: how a probe is run, or any
one probe (`catalogue`).
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from holdfast.inspector.notes import Level, Source

if TYPE_CHECKING:
    from holdfast.inspector.probing.room import Room

__all__ = [
    "PROBES",
    "Need",
    "NotApplicableError",
    "Probe",
    "ProbeFinding",
    "ProbeFunction",
    "ProbeResult",
    "UndecidedError",
    "Verdict",
    "probe",
]

ProbeFunction = Callable[["Room"], None]


class Need(enum.StrEnum):
    """What a probe cannot do without; the value says it in words."""

    LOCKS = "exclusive write locks"
    SHARED = "shared locks"
    DISCOVERY = "a lockdiscovery that shows locks"
    SECOND = "a second principal"
    LOGIN = "a server that asks who one is"


class Verdict(enum.StrEnum):
    """What came of a probe. `error`: it could not be decided, because the server did something else altogether."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"
    ERROR = "error"


class NotApplicableError(Exception):
    """The probe asks nothing of this server; the text says why."""


class UndecidedError(Exception):
    """The probe could not come to an end; the text says what was in its way."""


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """One promise of a server's locking, and the function that tries it.

    `id` is a few words with hyphens and never changes its meaning. `title` is the promise, `why` what happens where it is broken.
    `waits` are probes that let real seconds pass; `is_rough` those that may bring down a server with a fault: they come last.
    """

    id: str
    title: str
    why: str
    level: Level
    source: Source
    needs: tuple[Need, ...]
    waits: bool
    is_rough: bool
    function: ProbeFunction


class ProbeFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong: a sentence, what was sent and what came. Neither holds credentials."""

    summary: str
    level: Level
    sent: str = ""
    came: str = ""


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one probe on one server. `reason` says why it is not applicable or could not be decided."""

    id: str
    verdict: Verdict
    findings: tuple[ProbeFinding, ...] = ()
    reason: str = ""
    seconds: float = 0.0
    requests: int = 0

    @property
    def level(self) -> Level | None:
        """The worst level among the findings; None without any."""
        found = {finding.level for finding in self.findings}
        return next((level for level in (Level.BAD, Level.WARN, Level.INFO) if level in found), None)


_probes: dict[str, Probe] = {}
PROBES: Final[Mapping[str, Probe]] = MappingProxyType(_probes)
"""Every probe by its id, in the order in which they run; full once `holdfast.inspector.probing.catalogue` is imported."""


def probe(
    level: Level,
    source: Source,
    *,
    needs: Iterable[Need] = (Need.LOCKS,),
    waits: bool = False,
    is_rough: bool = False,
) -> Callable[[ProbeFunction], ProbeFunction]:
    """Make the decorated function a probe: its name is the id, its docstring the title and the why. Raises ValueError for a second one."""

    def keep(function: ProbeFunction) -> ProbeFunction:
        probe_id = function.__name__.replace("_", "-")
        if probe_id in _probes:
            msg = f"there are two probes {probe_id}"
            raise ValueError(msg)
        title, _, why = (inspect.getdoc(function) or "").partition("\n")
        _probes[probe_id] = Probe(
            id=probe_id,
            title=title,
            why=" ".join(why.split()),
            level=level,
            source=source,
            needs=tuple(needs),
            waits=waits,
            is_rough=is_rough,
            function=function,
        )
        return function

    return keep
