"""Reports as SARIF 2.1.0 (OASIS), which code hosts and editors read.

Owns: which of its members say what. A good note is a result of kind `pass`, whose level must be `none` (section 3.27.10).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any, Final
from urllib.parse import quote

from holdfast import __version__
from holdfast.inspector.notes import RULES, Level, Note, Source
from holdfast.inspector.showing.shown import Shown, heading, plain

__all__ = ["as_sarif"]

_LEVELS: Final = {Level.BAD: "error", Level.WARN: "warning", Level.INFO: "note", Level.GOOD: "none"}
_URL: Final = re.compile(r"https?://", re.IGNORECASE)

Json = dict[str, Any]


def as_sarif(shown: Sequence[Shown]) -> str:
    """A log of one run."""
    rules: dict[str, Json] = {}
    for each in shown:
        for note in each.report.notes:
            rules.setdefault(note.rule, _rule(note))
    places = {rule: place for place, rule in enumerate(rules)}
    run = {
        "tool": {
            "driver": {
                "name": "holdfast inspect",
                "version": __version__,
                "semanticVersion": __version__,
                "rules": list(rules.values()),
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_result(each, note, places[note.rule]) for each in shown for note in each.report.notes],
    }
    log = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def _rule(note: Note) -> Json:
    known = RULES.get(note.rule)
    found: Json = {
        "id": note.rule,
        "shortDescription": {"text": plain(note.summary if known is None else known.title)},
        "fullDescription": {"text": plain(note.why or note.summary)},
        "help": {"text": plain("\n".join([note.mend or note.why or note.summary, *map(_cited, note.sources)]))},
        "defaultConfiguration": {"level": _LEVELS[note.level if known is None else known.level]},
    }
    link = _first_link(note.sources)
    return {**found, "helpUri": link} if link else found


def _result(shown: Shown, note: Note, place: int) -> Json:
    subject = plain(note.subject)
    location: Json = {
        "physicalLocation": {"artifactLocation": {"uri": _uri(shown)}, "region": {"startLine": 1}},
        "message": {"text": heading(shown)},
    }
    if subject:
        location["logicalLocations"] = [{"name": subject, "kind": "member"}]
    identity = "\n".join([note.rule, note.subject, shown.report.method, _uri(shown)])
    return {
        "ruleId": note.rule,
        "ruleIndex": place,
        "kind": "pass" if note.level is Level.GOOD else "fail",
        "level": _LEVELS[note.level],
        "message": {"text": plain(note.summary)},
        "locations": [location],
        "partialFingerprints": {"holdfastInspect/v1": hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest()},
    }


def _uri(shown: Shown) -> str:
    """Where it is: the URL that was asked, or else the file, as a URI reference (RFC 3986)."""
    for text in (shown.report.url, shown.source):
        if _URL.match(text):
            return quote(text.encode("utf-8", "replace"), safe="!#$%&'()*+,/:;=?@[]~-._")
    return quote(PurePath(shown.source).as_posix().encode("utf-8", "replace"), safe="/~-._")


def _first_link(sources: Iterable[Source]) -> str:
    return next((source.link for source in sources if _URL.match(source.link)), "")


def _cited(source: Source) -> str:
    return f"{source}: {source.link}" if source.link else str(source)
