"""Sentences in which servers say who holds a lock, and until when.

Owns: the phrases that were met, and what is no name in them ("another user"). Must not know: in which body a sentence
stood. Every pattern is bounded, and tried on the beginning of a text only.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

import msgspec

from holdfast.client.bodies.found import Asked, Found
from holdfast.client.bodies.values import instant, text, words
from holdfast.client.details import LockedKind

__all__ = ["Told", "is_said_to_be_locked", "read_sentence", "told"]

_LONGEST: Final = 2000

# A name in quotes, or words up to where the sentence goes on. A dot ends it only before white space, for e-mail addresses.
_END_OF_NAME: Final = (
    r"(?=[.:](?:\s|$)|[,;!()\[\]<>]|\s(?:until|since|for|on|at|in|and|with|because|using|via|from|to)\b|\s*$)"
)
_NAME: Final = (
    r"(?:(?:the\s)?user:?\s)?(?:['\"‘“«`](?P<quoted>[^'\"’”»`\r\n<>]{1,120})['\"’”»`]"
    rf"|(?P<bare>[^\s'\"<>,;()\[\]]{{1,80}}?(?:\s[^\s'\"<>,;()\[\]]{{1,60}}?){{0,4}}?){_END_OF_NAME})"
)
_BY: Final = re.compile(
    r"\b(?:locked(?:\s+for\s+(?:exclusive|shared|editing|edit)(?:\s+use)?)?|(?:checked|signed)\s+out|held|reserved|leased"
    rf"|(?:being\s+)?edited|in\s+use)(?:\s+until\s+\S{{1,40}})?\s+by:?\s+{_NAME}",
    re.IGNORECASE,
)
_IS_EDITING: Final = re.compile(
    r"\buser\s+['\"]?(?P<bare>[^\s'\"<>,;()]{1,80})['\"]?\s+(?:is\s+)?(?:currently\s+)?(?:editing|processing|edits)\b",
    re.IGNORECASE,
)
_UNTIL: Final = re.compile(
    r"\b(?:until|till|expires?(?:\s+(?:at|on))?:?)\s+(\d{4}-\d\d-\d\d[T ][0-9:.]{5,18}\s?(?:Z|[+-]\d\d:?\d\d)?)"
)
_SINCE: Final = re.compile(
    r"\b(?:since|locked\s+(?:at|on))\s+(\d{4}-\d\d-\d\d[T ][0-9:.]{5,18}\s?(?:Z|[+-]\d\d:?\d\d)?)"
)
_NO_NAME: Final = re.compile(
    r"(?:an?|the|another|other|others|some|someone|somebody|different|one|any|you|your|yourself|me|it|this|that|another's|unknown)\b",
    re.IGNORECASE,
)
_LOCKED: Final = re.compile(
    r"\b(?:is|are|was|been|already|currently|temporarily|write|read|file|resource|record|document|state|item)[\s-]+(?:write[\s-]+|read[\s-]+)?locked\b"
    r"|\blocked\s+(?:by|for|until|due)\b|\bresource[\s_-]lock(?:ed)?\b|\bchecked\s+out\b|\block\s+conflict\b"
    r"|\bis\s+(?:held|leased|reserved)\s+(?:by|until)\b|\b(?:currently|being)\s+edit(?:ed|ing)\b|^\s*locked\W*$",
    re.IGNORECASE,
)
_NOT_LOCKED: Final = re.compile(
    r"\b(?:not|n't|never|no longer|un)[\s-]?(?:currently\s+)?(?:be\s+)?locked\b", re.IGNORECASE
)


class Told(msgspec.Struct, frozen=True):
    """What a sentence tells; empty and None where it does not."""

    holder: str = ""
    since: datetime | None = None
    until: datetime | None = None


def told(sentence: str) -> Told:
    """Who holds the lock, since when and until when, where the sentence says so in a way that was met before.

    >>> told("File is currently locked by Ada Lovelace").holder
    'Ada Lovelace'
    """
    sentence = sentence[:_LONGEST]
    return Told(_holder(sentence), _instant(_SINCE, sentence), _instant(_UNTIL, sentence))


def is_said_to_be_locked(sentence: str) -> bool:
    """True where a sentence says that something is locked, and not that it is not."""
    sentence = sentence[:_LONGEST]
    return _LOCKED.search(sentence) is not None and _NOT_LOCKED.search(sentence) is None


def read_sentence(sentence: str, asked: Asked, service: str = "text", code: str = "") -> Found | None:
    """A plain text as an answer; None where there is no text."""
    message = words(sentence)
    if not message:
        return None
    facts = told(message)
    locks = ()
    if facts != Told():
        locks = (asked.lock(holder=facts.holder, since=facts.since, until=facts.until),)
    certain = is_said_to_be_locked(message)
    kind = LockedKind.HELD_BY_OTHER if facts.holder or certain else LockedKind.UNKNOWN
    return Found(service=service, kind=kind, code=code, message=message, locks=locks, is_certain=certain)


def _holder(sentence: str) -> str:
    for pattern in (_BY, _IS_EDITING):
        match = pattern.search(sentence)
        if match is not None:
            groups = match.groupdict()
            quoted = groups.get("quoted")
            name = text(quoted or groups.get("bare") or "")
            if quoted or not _NO_NAME.match(name):
                return name.rpartition("|")[2] if name.startswith("i:0") else name  # a claim of SharePoint
    return ""


def _instant(pattern: re.Pattern[str], sentence: str) -> datetime | None:
    match = pattern.search(sentence)
    return None if match is None else instant(match[1].rstrip("."))
