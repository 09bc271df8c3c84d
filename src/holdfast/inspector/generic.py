"""Generic HTTP notes, from httplint: an adapter, for the extra `holdfast[inspector]`.

Owns: how an exchange is put to httplint, which of its notes are passed over and why, and how they become plain text. Must not know:
our own rules beyond the ids that say a thing better. httplint is loaded when the first exchange is looked at; where it is not
installed there are no notes. It does no input or output, and a fault in it costs its own notes alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, Final

from holdfast.inspector.exchange import FieldLine, ReceivedResponse, SentRequest
from holdfast.inspector.inspected import Inspected
from holdfast.inspector.notes import Level, Note, Source
from holdfast.wire.sentences import clean

if TYPE_CHECKING:
    from httplint import HttpRequestLinter, HttpResponseLinter

__all__ = ["PASSED_OVER", "generic_notes"]

_PREFIX: Final = "httplint:"
_FIELD_SUBJECT: Final = re.compile(r"(?:field-|header-)(.+)|content-type|offset-[0-9]+")
_MOST_FED: Final = 1024 * 1024
# httplint's grammars take about a millisecond for each byte of a list of many members.
_MOST_OF_A_FIELD: Final = 1024
_MOST_OF_FIELDS: Final = 16 * 1024
_MOST_MEMBERS_OF_A_FIELD: Final = 100
_MOST_MEMBERS: Final = 500
_MOST_NAMES: Final = 20
_MEMBERS: Final = re.compile(r"[,;\s]")
_MAX_SUMMARY: Final = 600
_MAX_LINE: Final = 2000
_PIECE: Final = 64 * 1024
_LEVELS: Final = {"good": Level.GOOD, "warning": Level.WARN, "bad": Level.BAD, "info": Level.INFO}

PASSED_OVER: Final[dict[str, str]] = {
    # Said by a rule of ours, which knows more of the case.
    "DATE_CLOCKLESS": "H04: Date is a MUST below 500 for an origin with a clock, and a MAY from there on",
    "NO_DATE_304": "H04",
    "CL_CORRECT": "H10 and R16, which say nothing where the length is right",
    "CL_INCORRECT": "H10: text that was pasted may have had its line breaks changed, which is not the server's doing",
    "CL_AND_TE_PRESENT": "H10",
    "CL_BAD_SYNTAX": "H10",
    "CONTENT_NOT_ALLOWED": "H10 for HEAD, R16 for the others",
    "PARTIAL_WITHOUT_RANGE": "R06, which knows multipart/byteranges, where the field is in the parts",
    "PARTIAL_NOT_REQUESTED": "R06",
    "REDIRECT_WITHOUT_LOCATION": "R07: a SHOULD",
    "STATUS_405_METHOD_IN_ALLOW": "R02",
    "STATUS_416_WITHOUT_RANGE": "R09",
    "STATUS_416_WITHOUT_CONTENT_RANGE": "R09",
    "UPGRADE_NOT_REQUESTED": "R05",
    "UNEXPECTED_CONTINUE": "R24",
    "STATUS_NONSTANDARD": "R23: a code that is not registered is treated as the x00 of its class (RFC 9110 section 15), and breaks nothing",
    "STATUS_DEPRECATED": "R23",
    "STATUS_RESERVED": "R23",
    "STATUS_IM_A_TEAPOT": "R23",
    # False for WebDAV.
    "STATUS_412_WITHOUT_PRECONDITION": "R10: WebDAV's If and Overwrite: F are conditions too (RFC 4918 sections 10.4, 10.6)",
    "CREATED_WITHOUT_LOCATION": "without Location the new resource is at the request's URL (RFC 9110 section 15.3.2), as after PUT, MKCOL, "
    "COPY and LOCK",
    # What caches do is told by `behaviour`, with the statuses of RFC 9110 section 15.1 (httplint knows 200, 203, 206, 300, 301 and 410, and so
    # is wrong of 204, 308, 404, 405, 414 and 501), and H05, R21 and R22 judge it: that a 423 "is fresh" is no good news.
    **dict.fromkeys(
        (
            "STORE_METHOD_UNCACHEABLE",
            "STORE_NO_STORE",
            "STORE_PRIVATE_CC",
            "STORE_PRIVATE_AUTH",
            "STORE_PUBLIC_AUTH",
            "STORE_STORABLE",
            "STORE_STORABLE_SHARED_ONLY",
            "STORE_UNSTORABLE",
            "FRESHNESS_NO_CACHE",
            "FRESHNESS_FRESH",
            "FRESHNESS_SHARED_PRIVATE",
            "FRESHNESS_STALE_ALREADY",
            "FRESHNESS_HEURISTIC",
            "FRESHNESS_NONE",
            "STALE_SERVABLE",
            "FRESH_MUST_REVALIDATE",
            "FRESH_PROXY_REVALIDATE",
            "STALE_MUST_REVALIDATE",
            "STALE_PROXY_REVALIDATE",
        ),
        "what caches do is told as behaviour",
    ),
    # They repeat what the status means, and no more.
    **dict.fromkeys(
        (
            "STATUS_ALREADY_REPORTED",
            "STATUS_BAD_GATEWAY",
            "STATUS_BAD_REQUEST",
            "STATUS_CONFLICT",
            "STATUS_EARLY_HINTS",
            "STATUS_EXPECTATION_FAILED",
            "STATUS_FORBIDDEN",
            "STATUS_GATEWAY_TIMEOUT",
            "STATUS_GONE",
            "STATUS_INTERNAL_SERVICE_ERROR",
            "STATUS_LOOP_DETECTED",
            "STATUS_METHOD_NOT_ALLOWED",
            "STATUS_MISDIRECTED_REQUEST",
            "STATUS_NETWORK_AUTHENTICATION_REQUIRED",
            "STATUS_NOT_ACCEPTABLE",
            "STATUS_NOT_FOUND",
            "STATUS_NOT_IMPLEMENTED",
            "STATUS_PRECONDITION_FAILED",
            "STATUS_PRECONDITION_REQUIRED",
            "STATUS_REQUEST_ENTITY_TOO_LARGE",
            "STATUS_REQUEST_HEADER_FIELDS_TOO_LARGE",
            "STATUS_SERVICE_UNAVAILABLE",
            "STATUS_TOO_EARLY",
            "STATUS_TOO_MANY_REQUESTS",
            "STATUS_UNAVAILABLE_FOR_LEGAL_REASONS",
            "STATUS_UNSUPPORTED_MEDIA_TYPE",
            "STATUS_UPLOAD_RESUMPTION_SUPPORTED",
            "STATUS_URI_TOO_LONG",
            "STATUS_VERSION_NOT_SUPPORTED",
        ),
        "it repeats the meaning of the status",
    ),
}
"""The notes of httplint that are left out, and why."""

# Fields whose form our own rules judge, and the notes about form that are then left out: Retry-After (H01), Date (H04), Content-Range (R06, R09).
_OWN_FIELDS: Final = frozenset({"field retry-after", "field date", "field content-range"})
# In a response they list what is supported, as after a 415 (RFC 9110 sections 12.5.1, 12.5.3 and 15.5.16).
_LISTED_IN_RESPONSES: Final = frozenset({"field accept", "field accept-encoding"})
_OF_FORM: Final = frozenset(
    {"BAD_SYNTAX", "BAD_SYNTAX_DETAILED", "SINGLE_HEADER_REPEAT", "BAD_DATE_SYNTAX", "DATE_OBSOLETE"}
)


def generic_notes(inspected: Inspected, *, everything: bool = False) -> list[Note] | None:
    """What httplint finds of the request, where it is known, and of the response; None where it is not installed. Never raises.

    Notes on the request are at most INFO: what is judged is the answer. `everything` brings those that are passed over too.
    """
    try:
        from httplint import HttpRequestLinter, HttpResponseLinter
    except ImportError:
        return None
    has_age = inspected.response.has("age")
    try:
        found = _notes(inspected, HttpRequestLinter, HttpResponseLinter)
        return [note for note in found if everything or not _is_passed_over(note, has_age=has_age)]
    except Exception as error:  # noqa: BLE001 - a fault of httplint on strange input must not cost the report
        return [_failure(error)]


def _notes(
    inspected: Inspected, request_linter: type[HttpRequestLinter], response_linter: type[HttpResponseLinter]
) -> Iterator[Note]:
    asked_fields, unread = _readable(() if inspected.request is None else inspected.request.fields)
    answer_fields, too_long = _readable(inspected.response.fields)
    if names := [*(f"the request's {name}" for name in unread), *too_long]:
        yield _unread(names)
    received_at = inspected.exchange.received_at
    start_time = None if received_at is None else received_at.timestamp()
    request, response = inspected.request, inspected.response
    answer = response_linter(start_time=start_time, no_content=not _is_content_as_sent(response))
    asked = None
    if request is not None and request.url:
        asked = request_linter(start_time=start_time, no_content=not request.body)
        _feed_request(asked, request, asked_fields)
        answer.request = asked
        asked.response = answer
        asked.base_uri = answer.base_uri = request.url
        answer.is_head_response = request.method == "HEAD"
    _feed_response(answer, response, answer_fields)
    if asked is not None and request is not None:
        yield from _plain(asked.notes, asked_fields, _of_request, "request ")
    yield from _plain(answer.notes, answer_fields, _of_response, "")


def _readable(fields: Iterable[FieldLine]) -> tuple[list[FieldLine], list[str]]:
    """The fields that are short enough, all lines of one or none; and the names of the others."""
    names: dict[str, str] = {}
    lengths: Counter[str] = Counter()
    members: Counter[str] = Counter()
    lines = list(fields)
    for name, value in lines:
        key = name.lower()
        names.setdefault(key, name)
        lengths[key] += len(name) + len(value)
        members[key] += 1 + (len(_MEMBERS.findall(value)) if lengths[key] <= _MOST_OF_A_FIELD else 0)
    room, member_room = _MOST_OF_FIELDS, _MOST_MEMBERS
    unread: dict[str, str] = {}
    for key, name in names.items():
        is_short = lengths[key] <= min(_MOST_OF_A_FIELD, room)
        if is_short and members[key] <= min(_MOST_MEMBERS_OF_A_FIELD, member_room):
            room -= lengths[key]
            member_room -= members[key]
        else:
            unread[key] = name
    return [line for line in lines if line[0].lower() not in unread], list(unread.values())


def _unread(names: list[str]) -> Note:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    shown = ", ".join(clean(name, 60) for name in names[:_MOST_NAMES])
    return Note(
        rule=f"{_PREFIX}LEFT_OUT",
        level=Level.INFO,
        summary=f"These fields are too long for httplint, and were not put to it: {shown}{more}",
    )


def _of_request(level: Level) -> Level:
    return Level.GOOD if level is Level.GOOD else Level.INFO


def _of_response(level: Level) -> Level:
    return level


def _is_passed_over(note: Note, *, has_age: bool) -> bool:
    name = note.rule.removeprefix(_PREFIX)
    if name == "DATE_INCORRECT":
        return not has_age  # then H04 says it; how Age and Date go together is known to httplint alone
    if name == "REQUEST_HDR_IN_RESPONSE" and note.subject.lower() in _LISTED_IN_RESPONSES:
        return True
    return name in PASSED_OVER or (note.subject.lower() in _OWN_FIELDS and name in _OF_FORM)


def _feed_request(linter: HttpRequestLinter, request: SentRequest, fields: list[FieldLine]) -> None:
    linter.process_request_topline(
        request.method.encode("latin-1", "replace"), request.url.encode(), request.version.encode()
    )
    linter.process_headers(_lines(fields))
    _feed(linter.feed_content, request.body)
    linter.finish_content(complete=True)


def _feed_response(linter: HttpResponseLinter, response: ReceivedResponse, fields: list[FieldLine]) -> None:
    linter.process_response_topline(
        response.version.encode(), b"%d" % response.status, response.reason.encode("latin-1", "replace")
    )
    linter.process_headers(_lines(fields))
    if not linter.is_head_response:
        _feed(linter.feed_content, response.body)
    linter.finish_content(complete=response.body_is_whole and len(response.body) <= _MOST_FED)


def _feed(feed: Callable[[bytes], None], body: bytes) -> None:
    for start in range(0, min(len(body), _MOST_FED), _PIECE):
        feed(body[start : min(start + _PIECE, _MOST_FED)])


def _lines(fields: Iterable[FieldLine]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in fields]


def _is_content_as_sent(response: ReceivedResponse) -> bool:
    """False where the body is not at hand, or its content coding was undone already, as in HAR files."""
    if not response.body_is_known or not response.body:
        return False
    if (response.field("content-encoding") or "identity").strip().lower() == "identity":
        return True
    try:
        response.body.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False  # no coded body is text


def _plain(
    found: Iterable[Any], fields: Iterable[FieldLine], level_of: Callable[[Level], Level], prefix: str
) -> Iterator[Note]:
    """The found notes as ours, each with its subnotes after it."""
    lines = list(fields)
    names = {name.lower(): name for name, _ in lines} | {f"offset-{at}": name for at, (name, _) in enumerate(lines)}
    todo = list(found)[::-1]
    while todo:
        note = todo.pop()
        todo.extend(reversed(note.subnotes))
        try:
            summary, why, sources = clean(str(note.summary), _MAX_SUMMARY), *_prose(str(note.detail))
        except Exception as error:  # noqa: BLE001 - a template of httplint that does not fit its own values
            yield _failure(error)
            continue
        yield Note(
            rule=f"{_PREFIX}{type(note).__name__}",
            level=level_of(_LEVELS[note.level.value]),
            summary=summary,
            subject=clean(f"{prefix}{_subject(note.subject, names)}"),
            why=why,
            sources=sources,
        )


def _failure(error: Exception) -> Note:
    return Note(
        rule=f"{_PREFIX}FAILED",
        level=Level.INFO,
        summary=f"httplint could not judge this exchange ({type(error).__name__}), so its notes are incomplete.",
    )


def _subject(subject: str, names: dict[str, str]) -> str:
    """`field-retry-after field-date` -> `field Retry-After, Date`; `offset-3` is the fourth line; other subjects as they are."""
    parts = [_FIELD_SUBJECT.fullmatch(part) for part in subject.split()]
    fields = [match[1] or match[0] for match in parts if match is not None]
    if not fields:
        return {"uri": "URL"}.get(subject, subject)
    return "field " + ", ".join(
        names.get(name, "-".join(part.capitalize() for part in name.split("-"))) for name in fields
    )


class _Prose(HTMLParser):
    """HTML of httplint's own making -> paragraphs of text, and the links in them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.links: list[tuple[str, str]] = []
        self._link: tuple[str, int] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"p", "ul", "ol", "pre", "blockquote", "br"}:
            self.parts.append("\n")
        elif tag == "li":
            self.parts.append("\n- ")
        elif tag == "code":
            self.parts.append("`")
        elif tag == "a":
            self._link = (next((value or "" for name, value in attrs if name == "href"), ""), len(self.parts))

    def handle_endtag(self, tag: str) -> None:
        if tag == "code":
            self.parts.append("`")
        elif tag == "a" and self._link is not None:
            target, start = self._link
            self.links.append((target, clean("".join(self.parts[start:]))))
            self._link = None

    def handle_data(self, data: str) -> None:
        self.parts.append(re.sub(r"\s+", " ", data))


def _prose(markup: str) -> tuple[str, tuple[Source, ...]]:
    """The text of a note's detail, a paragraph or list item on each line, and what it links to."""
    prose = _Prose()
    prose.feed(markup)
    prose.close()
    lines = (clean(line, _MAX_LINE) for line in "".join(prose.parts).split("\n"))
    links = dict.fromkeys((target, title) for target, title in prose.links if target.startswith("https://"))
    return "\n".join(line for line in lines if line), tuple(Source(title, "", target) for target, title in links)
