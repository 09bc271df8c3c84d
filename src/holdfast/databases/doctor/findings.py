"""What an examination tells: settings in force, holders, and findings with advice in plain words.

Owns: these values. Must not know: any database.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec

from holdfast.databases.codes import Dialect
from holdfast.databases.holders import Holder, span_text

__all__ = ["Examination", "Finding", "InForce", "Level", "of_holders"]

_LONG_S = 300.0


class Level(enum.StrEnum):
    """How grave a finding is."""

    BAD = "bad"
    """Somebody is kept waiting now, or will lose data or locks."""
    WARN = "warn"
    """It will keep somebody waiting one day."""
    INFO = "info"
    """Worth knowing."""


class InForce(msgspec.Struct, frozen=True):
    """A setting as it is now. `meaning` says in a few words what it does."""

    name: str
    value: str
    meaning: str = ""


class Finding(msgspec.Struct, frozen=True):
    """One thing that was found. `advice` says what to do about it."""

    level: Level
    sentence: str
    advice: str = ""


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found in one database, the gravest first."""

    dialect: Dialect
    target: str
    version: str
    settings: tuple[InForce, ...]
    holders: tuple[Holder, ...]
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Level | None:
        """The gravest level; None where nothing was found."""
        return self.findings[0].level if self.findings else None


def sorted_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The gravest first, else in their order."""
    order = list(Level)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.level)))


def of_holders(holders: Iterable[Holder]) -> Iterable[Finding]:
    """What a session or process that holds something is worth saying."""
    for holder in holders:
        if not holder.is_in_the_way or holder.is_waiting:
            continue
        span = "" if holder.held_s is None else f", for {span_text(holder.held_s)}"
        what = f" {holder.resource}" if holder.resource else " something"
        told = f"{holder.name} {holder.doing}{span}, and holds{what}"
        if holder.blocks:
            count = len(holder.blocks)
            yield Finding(
                Level.BAD,
                f"{told}: {count} session{'' if count == 1 else 's'} {'waits' if count == 1 else 'wait'} for it.",
                _end_it(holder),
            )
        elif holder.prepared or (holder.held_s or 0) >= _LONG_S:
            yield Finding(Level.WARN, f"{told}.", _end_it(holder))
        else:
            yield Finding(Level.INFO, f"{told}.")


def _end_it(holder: Holder) -> str:
    if holder.is_this_process:
        return "It is of this very process: end that transaction" + (
            f", which began at {holder.began_at}." if holder.began_at else "."
        )
    return f"Let it commit or roll back, or end it by force: holdfast db kill URL {holder.id} --reason TEXT"
