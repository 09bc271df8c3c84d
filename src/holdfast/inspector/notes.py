"""Notes and the rules that find them.

Owns: what a rule says of itself (id, level, why it matters, how to mend it, where that is written), the table of all rules, and
the note that a finding becomes. Must not know: any rule.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from holdfast.wire.sentences import clean

if TYPE_CHECKING:
    from holdfast.inspector.inspected import Inspected

__all__ = ["RULES", "Check", "Finding", "Level", "Note", "Rule", "Source", "note_of", "rfc", "rule"]


_MAX_SUMMARY: Final = 600


class Level(enum.StrEnum):
    """How much a note matters: `bad` breaks a MUST or a client, `warn` a SHOULD or some clients, `info` is worth knowing."""

    BAD = "bad"
    WARN = "warn"
    INFO = "info"
    GOOD = "good"


class Source(msgspec.Struct, frozen=True):
    """Where it is written: a document, a section in it, and a link to that."""

    document: str
    section: str
    link: str

    def __str__(self) -> str:
        """As it is cited: `RFC 4918 section 16.3`."""
        return f"{self.document} section {self.section}" if self.section else self.document


def rfc(number: int, section: str = "") -> Source:
    """An RFC's section, such as `rfc(4918, "16.3")`, with its link."""
    anchor = ""
    if section:
        anchor = f"#appendix-{section}" if section[0].isalpha() else f"#section-{section}"
    return Source(f"RFC {number}", section, f"https://www.rfc-editor.org/rfc/rfc{number}.html{anchor}")


class Finding(msgspec.Struct, frozen=True):
    """What a rule's check found: one line about this very exchange. `level` overrides the rule's, where it depends on the case."""

    summary: str
    subject: str = ""
    """What it is about: `field Retry-After`, `body`, `status`."""
    level: Level | None = None


Check = Callable[["Inspected"], Iterable[Finding]]


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that can be right or wrong about an exchange.

    `id` is a letter and two digits and never changes its meaning; `title` says what is asked, in one line; `why` what happens to
    clients, caches and people otherwise; `mend` what the author of the server does about it.
    """

    id: str
    level: Level
    title: str
    why: str
    mend: str
    sources: tuple[Source, ...]
    check: Check


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """One finding in a report. `rule` is the rule's id, or `httplint:NAME` for a generic one."""

    rule: str
    level: Level
    summary: str
    subject: str = ""
    why: str = ""
    mend: str = ""
    sources: tuple[Source, ...] = ()


_rules: dict[str, Rule] = {}
RULES: Final[Mapping[str, Rule]] = MappingProxyType(_rules)
"""Every rule by its id; full once `holdfast.inspector.rules` is imported."""


def rule(
    rule_id: str, level: Level, title: str, *, why: str, mend: str, sources: Iterable[Source]
) -> Callable[[Check], Check]:
    """Make the decorated check a rule. Raises ValueError where the id is taken."""

    def keep(check: Check) -> Check:
        if rule_id in _rules:
            msg = f"there are two rules {rule_id}"
            raise ValueError(msg)
        _rules[rule_id] = Rule(
            id=rule_id, level=level, title=title, why=why, mend=mend, sources=tuple(sources), check=check
        )
        return check

    return keep


def note_of(found: Rule, finding: Finding) -> Note:
    """The note that a finding of `found` becomes. What a stranger's message put into its words is on one line and printable."""
    return Note(
        rule=found.id,
        level=finding.level or found.level,
        summary=clean(finding.summary, _MAX_SUMMARY),
        subject=clean(finding.subject),
        why=found.why,
        mend=found.mend,
        sources=found.sources,
    )
