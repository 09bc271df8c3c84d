"""The pages as HTML: what the table of statuses says of a code, and what is written about it, put into the templates.

Owns: which of it stands where, and the words for closed sets. Must not know: requests. Everything that a template is
handed is escaped by it; no part of a request is among it.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Final

import jinja2
import msgspec

from holdfast.faces.simulator.pages.locked_example import example_problem, example_xml
from holdfast.faces.simulator.pages.texts import marked, text_of
from holdfast.wire.statuses import (
    FIRST_CODE,
    LAST_CODE,
    REGISTERED_CODES,
    Registration,
    RetryAdvice,
    StatusClass,
    StatusInfo,
    status_info,
)

__all__ = ["Surroundings", "render_code_page", "render_playground"]

_HERE: Final = Path(__file__).parent
_LOCKED: Final = 423

METHODS: Final = (
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY",
    "LOCK", "UNLOCK", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE",
)  # fmt: skip
"""What the playground offers; the simulator answers to any other, too."""

FORMS: Final = {
    "": "What Accept asks for",
    "json": "JSON",
    "problem": "problem+json",
    "xml": "XML",
    "html": "HTML",
    "text": "Plain text",
    "none": "None",
}
FAULTS: Final = {
    "": "None",
    "before-headers": "Reset before the answer",
    "after-headers": "Reset behind the fields",
    "mid-body": "Reset within the body",
    "malformed-chunk": "A chunk without a size",
    "wrong-length": "Content-Length says too much",
}

_RETRIES: Final = {
    RetryAdvice.NONE: ("Nothing to repeat", ""),
    RetryAdvice.FOLLOW: ("Follow it", "good"),
    RetryAdvice.LATER: ("Repeat it later", "good"),
    RetryAdvice.LATER_IF_IDEMPOTENT: ("Repeat it later, where twice does no harm", "warn"),
    RetryAdvice.CHANGED: ("Change it first", "warn"),
    RetryAdvice.NEVER: ("Do not repeat it", "bad"),
}
_REGISTRATIONS: Final = {
    Registration.REGISTERED: "Registered with IANA",
    Registration.TEMPORARY: "Registered with IANA for the time being, until its draft is an RFC",
    Registration.RESERVED: "Reserved: listed by IANA as unused",
    Registration.UNASSIGNED: "Unassigned: not in IANA's registry",
}

# What the playground offers to begin with: a query of its own, and what it shows.
PRESETS: Final = (
    ("code=423&method=PUT&lock=demo&for=20s&holder=Ada", "A real lock that counts down, then 200"),
    ("code=200&seq=423x2,200&key=mine", "Locked twice, then free"),
    ("code=423&body=xml&method=PUT", "A 423 as DAV:error"),
    ("code=503&delay=2s&retry_after=3", "Overloaded: slow, with Retry-After"),
    ("code=429&retry_after=date:30", "Too many requests, until a date"),
    ("code=200&random=423:0.3,200:0.7", "Locked in three of ten tries"),
    ("code=200&fault=mid-body&size=4000", "The connection breaks within the body"),
)


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the pages stand. `beside_dashboard`: on a server with other pages, which the head links to."""

    beside_dashboard: bool


def render_playground(surroundings: Surroundings) -> str:
    """The page with the form, and the list of all registered codes."""
    groups = [
        (status_class, [status_info(code) for code in codes])
        for status_class, codes in groupby(REGISTERED_CODES, StatusClass.of)
    ]
    return (
        _environment()
        .get_template("playground.html")
        .render(
            surroundings=surroundings,
            groups=groups,
            methods=METHODS,
            forms=FORMS,
            faults=FAULTS,
            presets=PRESETS,
            first_code=FIRST_CODE,
            last_code=LAST_CODE,
        )
    )


def render_code_page(code: int, surroundings: Surroundings) -> str:
    """The page of a code from 100 to 599."""
    info = status_info(code)
    label, mood = _RETRIES[info.retry.advice]
    more: dict[str, object] = {}
    if code == _LOCKED:
        more = {"problem_example": example_problem(), "xml_example": example_xml()}
    before = max((known for known in REGISTERED_CODES if known < code), default=None)
    after = min((known for known in REGISTERED_CODES if known > code), default=None)
    return (
        _environment()
        .get_template(f"{code}.html" if code == _LOCKED else "code.html")
        .render(
            surroundings=surroundings,
            info=info,
            name=_name(info),
            text=text_of(code),
            registration=_REGISTRATIONS[info.registration],
            retry_label=label,
            retry_mood=mood,
            caching=_caching(info),
            body=_body(info),
            before=None if before is None else status_info(before),
            after=None if after is None else status_info(after),
            **more,
        )
    )


def _name(info: StatusInfo) -> str:
    """The code with its phrase, where it has one."""
    return f"{info.code} {info.phrase}" if info.is_registered else f"{info.code}"


def _caching(info: StatusInfo) -> str:
    if info.is_interim or info.code == 101:
        return "Never stored: caches keep final answers alone."
    if not info.is_storable:
        return "Never stored: its specification forbids it."
    if info.is_heuristically_cacheable:
        return "May be stored, without being told for how long (RFC 9110 section 15.1)."
    if info.code == 304:
        return "Brings a stored response up to date."
    return "Stored only where max-age, Expires or the like allow it."


def _body(info: StatusInfo) -> str:
    if not info.has_content:
        return "Never has one."
    if info.content is None:
        return "What the method is about."
    return info.content.sentence


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([_HERE / "templates", _HERE.parent / "texts"]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["marked"] = marked
    return environment
