"""Rules about fields: Retry-After, Date, framing, CORS, preferences and what OPTIONS tells.

Owns: H01 to H04 and H10 to H14; the rules about what caches keep are in `caching_fields`. H07 (Vary) and the half of H11 that
compares a refusal with a success need a second request: they are probes. Must not know: where the exchange comes from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Final
from urllib.parse import unquote, urlsplit

from holdfast.inspector.inspected import Inspected
from holdfast.inspector.notes import Finding, Level, Source, rfc, rule
from holdfast.wire.prefer import parse_prefer
from holdfast.wire.rfc9110.dates import parse_http_date, render_http_date

__all__: list[str] = []

_FETCH: Final = Source(
    "Fetch",
    "2.2.2 (CORS-safelisted response-header names)",
    "https://fetch.spec.whatwg.org/#cors-safelisted-response-header-name",
)
_SNIFF: Final = Source(
    "Fetch", "3.6 (X-Content-Type-Options)", "https://fetch.spec.whatwg.org/#x-content-type-options-header"
)

_SKEW: Final = timedelta(seconds=5)
_WELL_BEYOND: Final = timedelta(seconds=30)
_TELLING_TO_WAIT: Final = frozenset({413, 423, 425, 429, 503})


@rule(
    "H01",
    Level.BAD,
    "Retry-After is one number of seconds, or one date in the form that HTTP uses today",
    why="A client that cannot read the field does not wait: urllib3 raises InvalidHeader, others try again at once or never.",
    mend="Send whole seconds (`Retry-After: 30`) or an IMF-fixdate (`Retry-After: Sat, 21 Nov 2026 10:00:30 GMT`), once.",
    sources=[rfc(9110, "10.2.3"), rfc(9110, "5.6.7")],
)
def retry_after_form(inspected: Inspected) -> Iterator[Finding]:
    """Seconds as digits, or IMF-fixdate, and one line."""
    values = inspected.response.values("retry-after")
    if len(values) > 1:
        yield Finding(f"Retry-After is sent {len(values)} times", "field Retry-After")
    for value in values[:1]:
        if value.isascii() and value.isdigit():
            continue
        instant = parse_http_date(value)
        if instant is None:
            yield Finding(f"Retry-After is neither seconds nor a date: {_quoted(value)}", "field Retry-After")
        elif render_http_date(instant) != value:
            yield Finding(f"The date in Retry-After is not an IMF-fixdate: {_quoted(value)}", "field Retry-After")


@rule(
    "H02",
    Level.WARN,
    "Retry-After names a moment at which trying again can help",
    why="A client that obeys 0 or a past date asks again at once, over and over; one that obeys a time far beyond the lock's end "
    "waits long after the resource is free.",
    mend="Send the seconds until the earliest moment at which another try can succeed: at least 1, and not past the lock's end.",
    sources=[rfc(9110, "10.2.3"), rfc(4918, "6.6")],
)
def retry_after_sense(inspected: Inspected) -> Iterator[Finding]:
    """Not in the past, not 0, not far behind the end of the lock."""
    wait = inspected.retry_after
    if wait is None or inspected.status < 400:
        return
    if wait < timedelta(0):
        yield Finding(f"Retry-After lies {_span(-wait)} in the past", "field Retry-After")
    elif not wait:
        yield Finding("Retry-After says to try again at once", "field Retry-After")
    elif inspected.status == 423 and inspected.locked is not None and not inspected.locked.queue_length:
        remaining = inspected.locked.remaining
        if remaining is not None and wait.total_seconds() > remaining + _WELL_BEYOND.total_seconds():
            yield Finding(
                f"Retry-After asks for {_span(wait)}, but the body says that the lock ends in {remaining:.0f} s",
                "field Retry-After",
            )


@rule(
    "H03",
    Level.INFO,
    "A 423 says when to try again",
    why="Without Retry-After each client makes up its own pause: some hammer, some give up. urllib3 looks at the field under 413, 429 "
    "and 503 only, unless 423 is in its status_forcelist.",
    mend="Send Retry-After with the seconds until the lock ends, or fewer where holders often release early.",
    sources=[rfc(9110, "10.2.3"), rfc(9110, "15.5")],
)
def retry_after_missing(inspected: Inspected) -> Iterator[Finding]:
    """Retry-After on a 423 whose lock is not said to be without end."""
    if inspected.status != 423 or inspected.response.has("retry-after"):
        return
    locked = inspected.locked
    if locked is not None and locked.endless:
        return
    remaining = None if locked is None else locked.remaining
    if remaining is not None:
        yield Finding(
            f"The body says that the lock ends in {remaining:.0f} s, but there is no Retry-After", "field Retry-After"
        )
    else:
        yield Finding("No Retry-After: a client is not told when to try again", "field Retry-After")


@rule(
    "H04",
    Level.BAD,
    "An answer below 500 has a Date, once, and it is right",
    why="Clients and caches count ages and ends of locks from Date. Without it, or with a wrong clock, `expires_at` and dates in "
    "Retry-After mean another moment on their side.",
    mend="Send Date from a synchronised clock in every 2xx, 3xx and 4xx; only an origin without a clock may leave it out.",
    sources=[rfc(9110, "6.6.1"), rfc(9110, "5.6.7")],
)
def date_field(inspected: Inspected) -> Iterator[Finding]:
    """Present, single, an HTTP date, and close to when it was received where that is known."""
    values = inspected.response.values("date")
    if not values:
        if 200 <= inspected.status < 500:
            yield Finding(f"This {inspected.status} has no Date", "field Date")
        return
    if len(values) > 1:
        yield Finding(f"Date is sent {len(values)} times", "field Date")
        return
    date = inspected.date
    if date is None:
        yield Finding(f"Date is not an HTTP date: {_quoted(values[0])}", "field Date")
        return
    received_at = inspected.exchange.received_at
    if received_at is None or inspected.response.has("age"):
        return
    skew = date - received_at
    if abs(skew) > _SKEW:
        side = "ahead of" if skew > timedelta(0) else "behind"
        yield Finding(f"The server's clock is {_span(abs(skew))} {side} the one here", "field Date", Level.WARN)


@rule(
    "H10",
    Level.BAD,
    "The length of the message is told once, and is right",
    why="Whoever believes another length than its neighbour takes part of the body for the next answer: responses are mixed up, "
    "and attackers smuggle requests. Short bodies make clients wait, or report a broken connection instead of the refusal.",
    mend="Let the HTTP library set Content-Length or Transfer-Encoding, never both; send no body in answer to HEAD.",
    sources=[rfc(9112, "6"), rfc(9110, "8.6"), rfc(9110, "9.3.2")],
)
def framing(inspected: Inspected) -> Iterator[Finding]:
    """Faults seen while reading, lengths that contradict each other or the body, a body after HEAD."""
    response = inspected.response
    for fault in response.faults:
        yield Finding(fault.detail.rstrip("."), "message")
    told = {fault.code for fault in response.faults}
    lengths = {part.strip(" \t") for value in response.values("content-length") for part in value.split(",")}
    has_coding = response.has("transfer-encoding")
    is_told = "content-length-and-transfer-encoding" in told
    if lengths and has_coding and not is_told and response.version in {"1.0", "1.1"}:
        yield Finding("Both Content-Length and Transfer-Encoding are sent", "field Content-Length")
    elif has_coding and response.version not in {"1.0", "1.1"}:
        yield Finding(f"Transfer-Encoding does not exist in HTTP/{response.version}", "field Transfer-Encoding")
    if len(lengths) > 1 and "content-length-repeated" not in told:
        yield Finding("Content-Length is sent with different values", "field Content-Length")
    malformed = [length for length in lengths if not (length.isascii() and length.isdigit())]
    if malformed and "content-length-invalid" not in told:
        yield Finding(f"Content-Length is not a number: {_quoted(malformed[0])}", "field Content-Length")
    if inspected.method == "HEAD":
        if response.body:
            yield Finding("The answer to HEAD has a body", "body")
    elif len(lengths) == 1 and not malformed and not has_coding and not response.faults:
        yield from _length_found_wrong(inspected, int(next(iter(lengths))[:18]))


def _length_found_wrong(inspected: Inspected, length: int) -> Iterator[Finding]:
    response = inspected.response
    coded = (response.field("content-encoding") or "identity").strip().lower() != "identity"
    if coded or not response.body_is_known or not response.body_is_whole or inspected.status in {204, 304}:
        return
    body = response.body
    # Pasted text may have lost its last line break, or have had each of them changed on the way here.
    trimmed = body.replace(b"\r\n", b"\n").rstrip(b"\n")
    longest = len(body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")) + 2
    if not len(trimmed) <= length <= longest:
        yield Finding(f"Content-Length says {length}, but the body has {len(body)} bytes", "field Content-Length")


@rule(
    "H11",
    Level.WARN,
    "A script of another origin may read Retry-After",
    why="A browser hides every field that is neither safelisted nor exposed from a script of another origin: it sees the refusal, "
    "and cannot learn how long to wait.",
    mend="Send `Access-Control-Expose-Headers: Retry-After` (and Link, where it tells of the lock) with refusals as well.",
    sources=[_FETCH],
)
def exposed_fields(inspected: Inspected) -> Iterator[Finding]:
    """Retry-After among the exposed fields of an answer that allows another origin."""
    response = inspected.response
    if inspected.status not in _TELLING_TO_WAIT or not response.has("retry-after"):
        return
    if not response.has("access-control-allow-origin"):
        return
    exposed = {name.strip().lower() for name in (response.field("access-control-expose-headers") or "").split(",")}
    with_credentials = (response.field("access-control-allow-credentials") or "") == "true"
    if "retry-after" in exposed or ("*" in exposed and not with_credentials):
        return
    yield Finding(
        "Scripts of other origins may read this answer, but not its Retry-After", "field Access-Control-Expose-Headers"
    )


@rule(
    "H12",
    Level.WARN,
    "What repeats the request's path cannot be taken for a page",
    why="An error that repeats the path lets others choose part of its text. Where the type is missing or is guessed from the "
    "content, a link can so make a page of the attacker's out of it.",
    mend="Send `X-Content-Type-Options: nosniff` and an exact Content-Type with every error.",
    sources=[_SNIFF, rfc(9110, "8.3")],
)
def sniffed_echo(inspected: Inspected) -> Iterator[Finding]:
    """An error with the request's path in its body, and without nosniff."""
    response = inspected.response
    media_type = response.media_type
    if (
        inspected.request is None
        or inspected.status < 400
        or not (inspected.is_json or media_type in {"", "text/html", "text/plain"})
    ):
        return
    if (response.field("x-content-type-options") or "").lower() == "nosniff":
        return
    path = _path(inspected.request.url)
    if len(path) < 4 or not any(part.encode() in response.body for part in {path, unquote(path)}):
        return
    named = media_type or "without a Content-Type"
    level = Level.INFO if media_type == "text/html" else Level.WARN  # HTML is HTML with nosniff and without
    yield Finding(f"The body ({named}) repeats the path, without X-Content-Type-Options: nosniff", "body", level)


@rule(
    "H13",
    Level.INFO,
    "Preferences are honoured where they are said to be",
    why="`Prefer: wait=N` lets the server answer when the lock is free, which saves polling. Preference-Applied for what was not "
    "asked for makes a client believe in something that did not happen.",
    mend="Wait as long as was asked for (or say less with `Preference-Applied: wait=M`), and name only preferences that were sent.",
    sources=[rfc(7240, "4.3"), rfc(7240, "3")],
)
def preferences(inspected: Inspected) -> Iterator[Finding]:
    """Prefer: wait that had no effect on a 423; Preference-Applied without Prefer."""
    if inspected.request is None:
        return
    asked = inspected.request.field("prefer") or ""
    applied = _preference_names(inspected.response.field("preference-applied") or "")
    unasked = sorted(applied - _preference_names(asked))
    if unasked:
        yield Finding(
            f"Preference-Applied names what the request did not ask for: {_quoted(unasked[0])}",
            "field Preference-Applied",
        )
    wait = parse_prefer(asked).wait
    if inspected.status == 423 and wait and "wait" not in applied:
        answered_s = inspected.exchange.answered_s
        if answered_s is None or answered_s < wait / 2:
            quick = "" if answered_s is None else f", but the answer came after {answered_s:.1f} s"
            yield Finding(
                f"The request was ready to wait {wait} s{quick}; nothing says that the server did",
                "field Preference-Applied",
            )


@rule(
    "H14",
    Level.INFO,
    "OPTIONS tells that there are locks",
    why="macOS mounts read-only where DAV lacks 2, and Microsoft Office and Windows look at OPTIONS before they lock; a client that "
    "finds no LOCK in Allow writes without one.",
    mend="Answer every OPTIONS with `DAV: 1, 2` and list LOCK and UNLOCK in Allow where they work.",
    sources=[rfc(4918, "10.1"), rfc(4918, "18.2")],
)
def options_tell(inspected: Inspected) -> Iterator[Finding]:
    """A successful OPTIONS whose Allow and DAV do not go together."""
    if inspected.method != "OPTIONS" or not 200 <= inspected.status < 300:
        return
    if inspected.exchange.requested("access-control-request-method") is not None:
        return  # a browser's preflight asks something else
    response = inspected.response
    allowed = {name.strip().upper() for name in (response.field("allow") or "").split(",")} - {""}
    classes = {name.strip() for name in (response.field("dav") or "").split(",")} - {""}
    if not classes and allowed & {"PROPFIND", "LOCK"}:
        yield Finding("Allow lists WebDAV's methods, but there is no DAV field", "field DAV")
    if "2" in classes and "1" not in classes:
        yield Finding("DAV lists class 2 without class 1, which class 2 includes", "field DAV")
    missing = [name for name in ("LOCK", "UNLOCK") if name not in allowed]
    if allowed and missing and "2" in classes:
        yield Finding(f"DAV lists class 2 (locks), but Allow lacks {' and '.join(missing)}", "field Allow")
    if classes and "2" not in classes and "LOCK" in allowed:
        yield Finding("Allow lists LOCK, but DAV does not list class 2", "field DAV")


_PREFERENCE_NAME: Final = re.compile(r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)")


def _preference_names(text: str) -> set[str]:
    found = (_PREFERENCE_NAME.match(item) for item in text[:4096].split(","))
    return {match[1].lower() for match in found if match is not None}


def _path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _quoted(text: str) -> str:
    shown = text if len(text) <= 60 else text[:59] + "…"
    return f"“{shown}”"


def _span(span: timedelta) -> str:
    seconds = span.total_seconds()
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"
