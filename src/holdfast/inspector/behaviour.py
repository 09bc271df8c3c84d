"""What caches, clients and people will make of a response, in words.

Owns: these sentences. Each rests on a specification, on the program's source, or on what the program was seen to do; where neither is
known of a program, nothing is said of it. Must not know: what is good or bad about a response (rules), how a report is shown.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

import msgspec

from holdfast.client.details import locked_sentence
from holdfast.inspector.caching import Storing, storing
from holdfast.inspector.inspected import WEBDAV_METHODS, Inspected
from holdfast.inspector.notes import Source, rfc
from holdfast.wire.rfc9110.dates import parse_http_date
from holdfast.wire.sentences import clean
from holdfast.wire.statuses import FIRST_CODE, LAST_CODE, status_info

__all__ = ["Statement", "Topic", "behaviour"]

_CACHING: Final = rfc(9111, "3")
_INVALIDATION: Final = rfc(9111, "4.4")
_URLLIB3: Final = Source(
    "urllib3.util.Retry", "", "https://urllib3.readthedocs.io/en/stable/reference/urllib3.util.html"
)
_REQUESTS: Final = Source(
    "requests", "", "https://requests.readthedocs.io/en/latest/user/quickstart/#response-status-codes"
)
_HTTPX: Final = Source("HTTPX", "", "https://www.python-httpx.org/exceptions/")
_HTTPX_RETRIES: Final = Source("httpx-retries 0.6", "", "https://will-ockmore.github.io/httpx-retries/")
_AIOHTTP_RETRY: Final = Source("aiohttp-retry 2.9", "", "https://github.com/inyutin/aiohttp_retry")
_FETCH: Final = Source("Fetch", "5.6 (the fetch method)", "https://fetch.spec.whatwg.org/#fetch-method")
_CURL: Final = Source("curl's manual page", "", "https://curl.se/docs/manpage.html#--retry")
_RCLONE: Final = Source(
    "rclone, webdav.go", "", "https://github.com/rclone/rclone/blob/master/backend/webdav/webdav.go"
)
_LIBREOFFICE: Final = Source(
    "LibreOffice, docfile.cxx", "", "https://github.com/LibreOffice/core/blob/master/sfx2/source/doc/docfile.cxx"
)
_LIBREOFFICE_REFRESH: Final = Source(
    "LibreOffice, SerfLockStore.cxx",
    "",
    "https://github.com/LibreOffice/core/blob/master/ucb/source/ucp/webdav-curl/SerfLockStore.cxx",
)
_MACOS: Final = Source("webdavfs", "", "https://github.com/apple-oss-distributions/webdavfs")
_DAVFS2: Final = Source("davfs2, webdav.c", "", "https://savannah.nongnu.org/projects/davfs2")

_URLLIB3_STATUSES: Final = frozenset({413, 429, 503})
_URLLIB3_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"})
_HTTPX_RETRIES_STATUSES: Final = frozenset({429, 502, 503, 504})
_CURL_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})
_RCLONE_STATUSES: Final = frozenset({423, 425, 429, 500, 502, 503, 504, 509})
_SAFE: Final = frozenset({"", "GET", "HEAD", "OPTIONS", "PROPFIND", "TRACE"})
_MAX_SENTENCE: Final = 600
_OFFICE_PREFIX: Final = "589838;"


class Topic(enum.StrEnum):
    """What a statement is about."""

    CACHING = "caching"
    RETRY = "retry"
    PERSON = "person"


class Statement(msgspec.Struct, frozen=True):
    """One sentence about what `subject`, a program or a kind of them, makes of the response; `source` is where that is known from."""

    topic: Topic
    subject: str
    sentence: str
    source: Source | None = None


def behaviour(inspected: Inspected) -> tuple[Statement, ...]:
    """What is known of how others take this response: caches first, then programs, then people. Raises for no exchange.

    >>> from holdfast.inspector.exchange import Exchange, ReceivedResponse
    >>> exchange = Exchange(response=ReceivedResponse(status=423))
    >>> next(found.sentence for found in behaviour(Inspected(exchange)) if found.subject == "requests")
    'It returns the 423 as it is, once; only raise_for_status() makes an error of it.'
    """
    found = (*_caches(inspected), *_programs(inspected), *_people(inspected))
    return tuple(msgspec.structs.replace(one, sentence=clean(one.sentence, _MAX_SENTENCE)) for one in found)


def _caches(inspected: Inspected) -> Iterator[Statement]:
    assumed = "" if inspected.method else " (taken for the answer to a GET)"
    for subject, is_shared in (("shared cache", True), ("browser's cache", False)):
        sentence = _kept(storing(inspected, is_shared=is_shared))
        yield Statement(Topic.CACHING, subject, f"{sentence}{assumed}.", _CACHING)
    if inspected.method not in _SAFE and inspected.status >= 400:
        yield Statement(
            Topic.CACHING,
            "any cache",
            "Copies of the resource that it has stay good: only an answer that is no error takes them away.",
            _INVALIDATION,
        )


def _kept(verdict: Storing) -> str:
    if not verdict.may_store:
        return f"It may not keep this answer: {verdict.reason}"
    if verdict.reuse_s is None:
        return f"It may keep this answer and repeat it without asking: {verdict.reason}"
    if verdict.reuse_s == 0:
        return f"It may keep this answer, but must ask again before it repeats it: {verdict.reason}"
    return f"It may keep this answer and repeat it for {verdict.reuse_s:.0f} s without asking"


def _programs(inspected: Inspected) -> Iterator[Statement]:
    status = inspected.status
    if FIRST_CODE <= status <= LAST_CODE:
        info = status_info(status)
        source = Source(info.source.document, info.source.section, info.source.link)
        yield Statement(Topic.RETRY, "any client", info.retry.sentence, source)
    if status == 207 and inspected.locked is not None:
        yield Statement(
            Topic.RETRY,
            "HTTP libraries",
            "They take the 207 for a success, and raise nothing: the refusals in its body must be looked for.",
            rfc(4918, "13"),
        )
    if not 400 <= status <= LAST_CODE:
        return
    error = f"It returns the {status} as it is, once; only raise_for_status() makes an error of it."
    yield Statement(Topic.RETRY, "requests", error, _REQUESTS)
    yield Statement(Topic.RETRY, "urllib3", _urllib3(inspected), _URLLIB3)
    yield Statement(Topic.RETRY, "httpx", error, _HTTPX)
    yield Statement(Topic.RETRY, "httpx-retries", _httpx_retries(inspected), _HTTPX_RETRIES)
    yield Statement(Topic.RETRY, "aiohttp-retry", _aiohttp_retry(status), _AIOHTTP_RETRY)
    yield Statement(
        Topic.RETRY,
        "browser fetch",
        f"The promise is fulfilled with status {status} and ok false; nothing is thrown.",
        _FETCH,
    )
    yield Statement(Topic.RETRY, "curl --retry", _curl(inspected), _CURL)
    if _may_be_webdav(inspected):
        yield Statement(Topic.RETRY, "rclone", _rclone(inspected), _RCLONE)


def _urllib3(inspected: Inspected) -> str:
    status, method = inspected.status, inspected.method
    if method and method not in _URLLIB3_METHODS:
        return f"With Retry it does not repeat {method}, whatever the status, unless allowed_methods lists it."
    if status in _URLLIB3_STATUSES:
        if not inspected.response.has("retry-after"):
            return f"With Retry it does not repeat: under {status} it needs Retry-After for that, or status_forcelist."
        if not _is_retry_after_read(inspected):
            return "With Retry it raises InvalidHeader, for it cannot read Retry-After."
        return "With Retry it waits as Retry-After says and repeats; when the tries are used up it raises, and the answer is lost."
    forced = f"With Retry it does not repeat a {status} unless status_forcelist lists it"
    if status != 423:
        return f"{forced}."
    wait = (
        "it then waits as Retry-After says"
        if inspected.response.has("retry-after")
        else "it then repeats at once where backoff_factor is 0, for there is no Retry-After"
    )
    return f"{forced}; {wait}, and when the tries are used up it raises, and who holds the lock is lost."


def _is_retry_after_read(inspected: Inspected) -> bool:
    value = inspected.response.field("retry-after") or ""
    return (value.isascii() and value.isdigit()) or parse_http_date(value) is not None


def _httpx_retries(inspected: Inspected) -> str:
    status, method = inspected.status, inspected.method
    if method and method not in _URLLIB3_METHODS:
        return f"Its RetryTransport does not repeat {method} unless allowed_methods lists it."
    if status in _HTTPX_RETRIES_STATUSES:
        wait = ", after the time in Retry-After" if inspected.response.has("retry-after") else ""
        return f"Its RetryTransport repeats{wait}, and returns the last answer when the tries are used up."
    return f"Its RetryTransport does not repeat a {status} unless status_forcelist lists it."


def _aiohttp_retry(status: int) -> str:
    if status >= 500:
        return "It repeats, in pauses of its own: it does not look at Retry-After."
    return f"It does not repeat a {status} unless statuses lists it, and then in pauses of its own: it does not look at Retry-After."


def _curl(inspected: Inspected) -> str:
    if inspected.status not in _CURL_STATUSES:
        return f"It does not repeat: {inspected.status} is none of the statuses that it takes for passing."
    wait = (
        "after the time in Retry-After"
        if inspected.response.has("retry-after")
        else "after 1 s, then twice as long each time"
    )
    return f"It repeats, {wait}."


def _rclone(inspected: Inspected) -> str:
    if inspected.status not in _RCLONE_STATUSES:
        return f"Its WebDAV backend does not repeat a request because of a {inspected.status}."
    return "Its WebDAV backend repeats up to 10 times, in pauses that grow, and does not look at Retry-After."


def _people(inspected: Inspected) -> Iterator[Statement]:
    status = inspected.status
    if status >= 400 and inspected.response.body_is_known and inspected.method in {"", "GET", "POST"}:
        yield Statement(Topic.PERSON, "browser", _in_a_browser(inspected))
    if status == 204 and inspected.method == "PROPPATCH":
        yield Statement(
            Topic.PERSON,
            "Windows Explorer",
            "It reports that there is not enough storage: it wants 207 with 200 in it after a PROPPATCH.",
        )
    if status in {423, 424} and _may_be_webdav(inspected):
        yield Statement(
            Topic.PERSON,
            "macOS Finder",
            "The program that writes is told that the file is busy (EBUSY), no more.",
            _MACOS,
        )
    is_refresh = inspected.request is not None and inspected.method == "LOCK" and not inspected.request.body
    if status >= 400 and is_refresh:
        yield Statement(
            Topic.PERSON,
            "LibreOffice",
            "It stops to refresh its lock for good after one refusal, and says nothing; the lock ends while the document is open.",
            _LIBREOFFICE_REFRESH,
        )
    if status != 423:
        return
    if inspected.locked is not None:
        told = clean(locked_sentence(inspected.locked), 300)
        yield Statement(Topic.PERSON, "holdfast's client", f"It says: “{told}”.")
    if not _may_be_webdav(inspected):
        return
    if not is_refresh and inspected.method in {"", "LOCK"}:
        yield Statement(
            Topic.PERSON,
            "LibreOffice",
            "On opening a document it asks for DAV:lockdiscovery and names the owner text of the first lock, or an unknown user; "
            "it does not look into this body.",
            _LIBREOFFICE,
        )
    yield Statement(Topic.PERSON, "Microsoft Office", _office(inspected))
    yield Statement(Topic.PERSON, "davfs2", _davfs2(inspected), _DAVFS2)


def _may_be_webdav(inspected: Inspected) -> bool:
    """False for an API's answer: JSON to a method that is not WebDAV's."""
    return inspected.method in WEBDAV_METHODS or not inspected.is_json


def _in_a_browser(inspected: Inspected) -> str:
    response = inspected.response
    if not response.body:
        return "Who opens this address sees nothing of the server's: the body is empty."
    if response.media_type == "text/html":
        return "Who opens this address sees the page in the body."
    if inspected.is_json or inspected.is_xml:
        form = "JSON" if inspected.is_json else "XML"
        return f"Who opens this address sees {form} as it stands: a page (text/html) would be for people."
    return "Who opens this address sees the body as text, or is offered to save it."


def _office(inspected: Inspected) -> str:
    value = inspected.response.field("x-msdavext_error") or ""
    if value.startswith(_OFFICE_PREFIX):
        words = clean(unquote(value.removeprefix(_OFFICE_PREFIX).strip(), errors="replace"))
        return f"It is told in X-MSDAVEXT_ERROR: “{words}”; it offers the document read-only, and looks again about every 20 s."
    return (
        "It is not told who (no X-MSDAVEXT_ERROR); it offers the document read-only, and looks again about every 20 s."
    )


def _davfs2(inspected: Inspected) -> str:
    if inspected.method == "LOCK":
        return "It asks for DAV:lockdiscovery, and takes over a lock whose owner text equals its own; otherwise permission is denied (EACCES)."
    return "Permission is denied (EACCES); an upload is tried 15 times in all, then the file goes to lost+found."
