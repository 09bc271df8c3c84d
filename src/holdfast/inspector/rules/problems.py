"""Problem details as JSON (RFC 9457), of any status: rules P01 to P08.

Owns: what the members are and may be, and what does not belong in them. Must not know: what XML says, whether the status is right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from itertools import islice
from typing import Any, Final, cast

from holdfast.client.bodies.prose import Told, told
from holdfast.inspector.inspected import Inspected, Unreadable, is_uri_reference
from holdfast.inspector.notes import Finding, Level, rfc, rule
from holdfast.wire.sentences import clean

_STANDARD: Final = ("type", "title", "status", "detail", "instance")
_ABOUT_BLANK: Final = "about:blank"
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:", re.ASCII)
_EXTENSION: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{2,}", re.ASCII)
# Phrases that were changed: the status of RFC 9110 and before.
_OTHER_PHRASES: Final = {
    302: ("moved temporarily",),
    413: ("content too large", "payload too large", "request entity too large"),
    414: ("uri too long", "request-uri too long"),
    416: ("range not satisfiable", "requested range not satisfiable"),
    418: ("i'm a teapot",),
    422: ("unprocessable content", "unprocessable entity"),
    423: ("locked",),
}
_MAX_TEXT: Final = 4000
_MAX_MEMBERS: Final = 20
# What only a program's inside says. Each looks a bounded way ahead.
_INSIDES: Final = (
    ("a stack trace", re.compile(r"Traceback \(most recent call last\)|File \"[^\"\n]{1,300}\", line \d{1,7}")),
    ("a stack trace", re.compile(r"\bat [\w.$<>/-]{3,200} ?\([^()\s]{1,200}:\d{1,7}\)")),
    ("a stack trace", re.compile(r"\bat [^\n]{3,300}? in [^\n]{3,300}?:line \d{1,7}|\bgoroutine \d{1,9} \[")),
    (
        "SQL",
        re.compile(r"\bSELECT\b[^;]{1,500}?\bFROM\b|\bINSERT INTO\b|\bDELETE FROM\b|\bUPDATE\b[^;]{1,300}?\bSET\b"),
    ),
    ("a database's error", re.compile(r"\bSQLSTATE\b|\bORA-\d{5}\b|\bpsycopg\d?\.|\bsqlite3\.\w{1,40}Error\b")),
)


@rule(
    "P01",
    Level.BAD,
    "application/problem+json is a JSON object, and its members have their types",
    why="A client that is told problem+json parses it, and fails where it is something else. A member of the wrong type must be"
    " ignored, so what it says is lost.",
    mend="Send one JSON object; type, title, detail and instance are strings, status is a number. Leave out what you do not have.",
    sources=[rfc(9457, "3"), rfc(9457, "3.1")],
)
def is_an_object(inspected: Inspected) -> Iterator[Finding]:
    """P01."""
    if not inspected.is_problem:
        return
    if inspected.lacks_content:
        yield Finding("The Content-Type says problem details, and there is no body", "body")
        return
    if not inspected.has_content:
        return
    value = inspected.json
    if isinstance(value, Unreadable):
        yield Finding(f"The body is not JSON: {clean(value.reason, 160)}", "body")
    elif not isinstance(value, dict):
        yield Finding(f"The body is {_kind(value)}, not a JSON object", "body")
    else:
        for name in _STANDARD:
            member = cast("dict[str, Any]", value).get(name, "" if name != "status" else 0)
            wanted = _is_number(member) if name == "status" else isinstance(member, str)
            if wanted or (name == "detail" and isinstance(member, dict)):  # an object there is P08's
                continue
            asked = "a number" if name == "status" else "a string"
            level = Level.INFO if member is None else None
            yield Finding(f"{name} is {_kind(member)}, not {asked}; clients must ignore it", f"member {name}", level)


@rule(
    "P02",
    Level.BAD,
    "The member status is the response's status",
    why="The server must use one and the same code. Where they differ a client that reads the body and one that reads the status line"
    " do different things: one waits for the lock, the other gives up.",
    mend="Fill status from the code that is sent, or leave it out. Look for a gateway or error handler that changes the code on the"
    " way and leaves the body.",
    sources=[rfc(9457, "3.1.2")],
)
def status_is_the_same(inspected: Inspected) -> Iterator[Finding]:
    """P02."""
    status = _problem(inspected).get("status")
    if _is_number(status) and status != inspected.status:
        yield Finding(
            f"The body says status {clean(str(status), 40)}, the response is {inspected.status}", "member status"
        )


@rule(
    "P03",
    Level.WARN,
    "The title is the type's: the status phrase for about:blank; and the type is an absolute URI",
    why="A problem without a type (or about:blank) says no more than the status, so a title of its own promises a kind of problem that"
    " no client can tell from others. A relative type means something else on each server.",
    mend='Give the problem a type of its own, an absolute URI such as "https://api.example/problems/locked" or a urn: or tag: URI, and'
    " keep title for its short name. Or use the status phrase as the title.",
    sources=[rfc(9457, "4.2.1"), rfc(9457, "3.1.1")],
)
def type_fits_title(inspected: Inspected) -> Iterator[Finding]:
    """P03. The title may be translated to what Accept-Language asks for."""
    problem = _problem(inspected)
    kind, title = problem.get("type", _ABOUT_BLANK), problem.get("title")
    if kind in {_ABOUT_BLANK, "", None}:
        phrases = _phrases(inspected.status)
        if (
            isinstance(title, str)
            and phrases
            and title.strip().lower() not in phrases
            and not _is_translated(inspected)
        ):
            missing = "is about:blank" if kind == _ABOUT_BLANK else "is missing"
            shown = clean(title, 80)
            yield Finding(
                f"The type {missing}, so the title should be the status phrase, not '{shown}'", "member title"
            )
    elif isinstance(kind, str) and is_uri_reference(kind) and kind.startswith("/"):
        yield Finding(
            f"The type {clean(kind, 120)} is relative: it is another problem on each host", "member type", Level.INFO
        )


@rule(
    "P04",
    Level.WARN,
    "The type is a URI",
    why="A bare word is a relative reference: resolved against the URL of each request it names another problem each time, so"
    " clients that compare the type never recognise it.",
    mend='Send an absolute URI, such as "https://api.example/problems/locked", "urn:problem-type:example:locked" or a tag: URI. It need'
    " not lead anywhere, though a page that explains it helps.",
    sources=[rfc(9457, "3.1.1"), rfc(3986, "4.1")],
)
def type_is_a_uri(inspected: Inspected) -> Iterator[Finding]:
    """P04."""
    kind = _problem(inspected).get("type")
    if not isinstance(kind, str) or not kind:
        return
    if not is_uri_reference(kind):
        yield Finding(f"The type '{clean(kind, 120)}' is no URI", "member type")
    elif not _SCHEME.match(kind) and not kind.startswith("/"):
        yield Finding(f"The type '{clean(kind, 120)}' is a relative reference, not a URI", "member type")


@rule(
    "P05",
    Level.INFO,
    "Who holds the lock and until when stand in members, not in the detail's prose alone",
    why="detail is for people, and clients should not parse it. A program that would wait until the lock ends, or show its holder, has"
    " to guess from a sentence that changes with the next release or language.",
    mend='Add extension members beside the sentence, such as `"lock": {"holder": "Ada", "since": ..., "expires_at": ...}` with RFC 3339'
    ' dates, and `"retry_after"` in seconds.',
    sources=[rfc(9457, "3.1.4"), rfc(9457, "3.2")],
)
def facts_are_members(inspected: Inspected) -> Iterator[Finding]:
    """P05."""
    problem = _problem(inspected)
    detail = problem.get("detail")
    if inspected.status != 423 or not isinstance(detail, str) or any(name not in _STANDARD for name in problem):
        return
    found = told(detail)
    if found != Told():
        names = [
            name for name, fact in (("holder", found.holder), ("start", found.since), ("end", found.until)) if fact
        ]
        yield Finding(f"The lock's {' and '.join(names)} stand in the detail's prose alone", "member detail")


@rule(
    "P06",
    Level.WARN,
    "Extension members have names of three or more letters, digits and underscores, a letter first",
    why="Such names survive in other formats, as XML elements and as fields of generated types. Others are dropped or renamed by"
    " what reads them.",
    mend="Rename the member: expires_at in place of expires-at, lock_id in place of id.",
    sources=[rfc(9457, "3.2")],
)
def extensions_are_well_named(inspected: Inspected) -> Iterator[Finding]:
    """P06."""
    odd = [name for name in _problem(inspected) if name not in _STANDARD and not _EXTENSION.fullmatch(name)]
    if odd:
        names = ", ".join(f"'{clean(name, 40)}'" for name in odd[:5])
        yield Finding(f"The extension member {names} is not named so that every format can hold it", "body")


@rule(
    "P07",
    Level.WARN,
    "instance is a URI reference, and no member shows the program's inside",
    why="An instance that is no URI cannot be followed or compared. Stack traces and SQL tell an attacker about versions, paths and"
    " tables, and tell everybody else nothing.",
    mend="Percent-encode instance, or leave it out; an id belongs into a urn:uuid: URI or a member of its own. Write traces to the log"
    " and send an id to find them by.",
    sources=[rfc(9457, "3.1.5"), rfc(9457, "5")],
)
def keeps_to_itself(inspected: Inspected) -> Iterator[Finding]:
    """P07."""
    problem = _problem(inspected)
    instance = problem.get("instance")
    if isinstance(instance, str) and not is_uri_reference(instance):
        yield Finding(f"The instance '{clean(instance, 120)}' is no URI reference", "member instance")
    for name, value in islice(problem.items(), _MAX_MEMBERS):
        if isinstance(value, str) and name not in {"type", "instance"}:
            shown = _inside(value)
            if shown:
                yield Finding(f"{clean(name, 40)} shows {shown}", f"member {clean(name, 40)}")


@rule(
    "P08",
    Level.BAD,
    "The problem's members stand at the top, not within detail",
    why="A framework's error class has wrapped the problem: its type, title and status are no longer where clients look, and detail,"
    " which should be a sentence, is an object that they must ignore.",
    mend="Return the object as the body itself. In FastAPI that is a JSONResponse from an exception handler; HTTPException(detail={...})"
    " puts whatever it gets below detail.",
    sources=[rfc(9457, "3"), rfc(9457, "3.1.4")],
)
def is_not_wrapped(inspected: Inspected) -> Iterator[Finding]:
    """P08. In plain JSON that claims nothing it is only worth a word where a lock's facts are in there."""
    if (
        inspected.status < 400
        or not inspected.is_json
        or not inspected.has_content
        or not isinstance(inspected.json, dict)
    ):
        return
    value = cast("dict[str, Any]", inspected.json)
    inner = value.get("detail")
    if not isinstance(inner, dict):
        return
    names = [name for name in _STANDARD if name in inner]
    if inspected.is_problem or (len(value) == 1 and len(names) > 1):
        shown = f": {', '.join(names)}" if names else ""
        yield Finding(f"The problem is wrapped in a member detail{shown}", "member detail")
    elif inspected.status == 423 and len(value) == 1:
        yield Finding("What the 423 says is wrapped in a member detail", "member detail", Level.INFO)


def _problem(inspected: Inspected) -> Mapping[str, Any]:
    """The problem's members; none where there is no problem, or none that can be read."""
    if not inspected.is_problem or not inspected.has_content or not isinstance(inspected.json, dict):
        return {}
    return cast("dict[str, Any]", inspected.json)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: object) -> str:
    """What JSON calls it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list):
        return "an array"
    return "an object" if isinstance(value, dict) else "a number"


def _phrases(status: int) -> tuple[str, ...]:
    """The phrases of a status, in lower case; none where it has none."""
    try:
        known = (HTTPStatus(status).phrase.lower(),)
    except ValueError:
        known = ()
    return (*known, *_OTHER_PHRASES.get(status, ()))


def _is_translated(inspected: Inspected) -> bool:
    """True where the title may be in another language than English."""
    sent = (inspected.response.field("content-language") or "en").strip().lower()
    asked = (inspected.exchange.requested("accept-language") or "en").strip().lower()
    return not sent.startswith("en") or not asked.startswith(("en", "*"))


def _inside(value: str) -> str:
    """What of a program's inside a text shows; empty where nothing."""
    text = value[:_MAX_TEXT]
    return next((name for name, pattern in _INSIDES if pattern.search(text)), "")
