"""WebDAV's answers, values -> XML: multistatus, error, lockdiscovery (RFC 4918 section 14).

Owns: the exact text of those elements. Must not know: which properties a resource has, or why a
request was refused. Text is joined by hand, since a PROPFIND of 10,000 members is mostly this; so every
function says whether it takes text (and escapes it) or XML (and trusts it). The prefix `D` is bound to
"DAV:" in all of it, as Windows' Mini-Redirector needs; pieces are meant to stand in a document made here.
"""

from __future__ import annotations

import enum
import re
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from holdfast.core.model import Lock, LockScope
from holdfast.wire.davxml import DAV

__all__ = [
    "HOLDFAST",
    "NO_SUPPORTEDLOCK",
    "SUPPORTEDLOCK",
    "XML_CONTENT_TYPE",
    "Condition",
    "condition_xml",
    "empty_property",
    "error_element",
    "escape",
    "iso_date",
    "iso_instant",
    "lockdiscovery",
    "property_element",
    "propstat",
    "render_activelock",
    "render_error",
    "render_lock_answer",
    "render_multistatus",
    "response",
    "status_line",
    "status_response",
    "stream_multistatus",
]

XML_CONTENT_TYPE: Final = "application/xml; charset=utf-8"

HOLDFAST: Final = "urn:holdfast:dav"
"""The namespace of the elements that Holdfast adds to a DAV:error."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)

_DECLARATION: Final = '<?xml version="1.0" encoding="utf-8"?>\n'
_MULTISTATUS_START: Final = _DECLARATION + '<D:multistatus xmlns:D="DAV:">'
_MULTISTATUS_END: Final = "</D:multistatus>"

_LOCK_ENTRIES: Final = "".join(
    f"<D:lockentry><D:lockscope><D:{scope.value}/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>"
    for scope in (LockScope.EXCLUSIVE, LockScope.SHARED)
)

SUPPORTEDLOCK: Final = f"<D:supportedlock>{_LOCK_ENTRIES}</D:supportedlock>"
"""The property of a resource that takes exclusive and shared write locks (RFC 4918 section 15.10)."""

NO_SUPPORTEDLOCK: Final = "<D:supportedlock/>"
"""The property of a resource, or for a principal, that no lock can be taken on."""


class Condition(enum.StrEnum):
    """The precondition and postcondition codes in use; each is an element in a DAV:error."""

    CANNOT_MODIFY_PROTECTED_PROPERTY = "cannot-modify-protected-property"  # RFC 4918 section 16
    LOCK_TOKEN_MATCHES_REQUEST_URI = "lock-token-matches-request-uri"  # noqa: S105 - RFC 4918 section 16
    LOCK_TOKEN_SUBMITTED = "lock-token-submitted"  # noqa: S105 - RFC 4918 section 16
    NO_CONFLICTING_LOCK = "no-conflicting-lock"  # RFC 4918 section 16
    NO_EXTERNAL_ENTITIES = "no-external-entities"  # RFC 4918 section 16
    PRESERVED_LIVE_PROPERTIES = "preserved-live-properties"  # RFC 4918 section 16
    PROPFIND_FINITE_DEPTH = "propfind-finite-depth"  # RFC 4918 section 16
    QUOTA_NOT_EXCEEDED = "quota-not-exceeded"  # RFC 4331 section 6
    SUFFICIENT_DISK_SPACE = "sufficient-disk-space"  # RFC 4331 section 6
    NEED_PRIVILEGES = "need-privileges"  # RFC 3744 section 7.1.1
    VALID_RESOURCETYPE = "valid-resourcetype"  # RFC 5689 section 3.3


# Markup, and what XML 1.0 section 2.2 forbids: control characters, lone surrogates, U+FFFE and U+FFFF.
_SPECIAL: Final = re.compile('[&<>"\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]')
_REFERENCES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"}


def _reference(match: re.Match[str]) -> str:
    return _REFERENCES.get(match[0], "")


def escape(text: str) -> str:
    """Text as XML, for content and for attributes in double quotes; characters that XML cannot hold are dropped."""
    return _SPECIAL.sub(_reference, text) if _SPECIAL.search(text) else text


@lru_cache(maxsize=4096)
def iso_date(seconds: int) -> str:
    """An RFC 3339 date-time without a fraction, for creationdate, of a count of whole seconds since 1970."""
    year, month, day, hour, minute, second = time.gmtime(seconds)[:6]
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"


def iso_instant(instant: datetime) -> str:
    """The same of an aware instant; parts of a second are dropped."""
    return iso_date((instant - _EPOCH) // _SECOND)


@lru_cache(maxsize=64)
def status_line(status: int) -> str:
    """The text of a DAV:status element."""
    try:
        return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP/1.1 {status} "


@lru_cache(maxsize=1024)
def empty_property(namespace: str, name: str) -> str:
    """A property element without a value, as in a propname answer or a 404 propstat; `name` is an XML name."""
    return property_element(namespace, name, "")


def property_element(namespace: str, name: str, value_xml: str) -> str:
    """A property element around trusted XML; `name` is an XML name. No namespace is the namespace ""."""
    if namespace == DAV:
        tag = start = f"D:{name}"
    elif namespace:
        tag = f"x:{name}"
        start = f'{tag} xmlns:x="{escape(namespace)}"'
    else:
        tag, start = name, f'{name} xmlns=""'
    return f"<{start}>{value_xml}</{tag}>" if value_xml else f"<{start}/>"


def propstat(status: int, properties_xml: str, error_xml: str = "") -> str:
    """A DAV:propstat around property elements; `error_xml` is an `error_element`."""
    return (
        f"<D:propstat><D:prop>{properties_xml}</D:prop><D:status>{status_line(status)}</D:status>{error_xml}"
        "</D:propstat>"
    )


def response(href: str, propstats_xml: str) -> str:
    """A DAV:response with properties. `href` is text, already percent-encoded."""
    return f"<D:response><D:href>{escape(href)}</D:href>{propstats_xml}</D:response>"


def status_response(href: str, status: int, error_xml: str = "") -> str:
    """A DAV:response about a resource as a whole; `error_xml` is an `error_element`."""
    return (
        f"<D:response><D:href>{escape(href)}</D:href><D:status>{status_line(status)}</D:status>{error_xml}</D:response>"
    )


def render_multistatus(responses: Iterable[str]) -> bytes:
    """A whole multistatus document around DAV:response elements."""
    return f"{_MULTISTATUS_START}{''.join(responses)}{_MULTISTATUS_END}".encode()


def stream_multistatus(responses: Iterable[str], chunk_characters: int = 65_536) -> Iterator[bytes]:
    """The same document in chunks of about that size, each made when it is asked for."""
    pending = [_MULTISTATUS_START]
    size = 0
    for item in responses:
        pending.append(item)
        size += len(item)
        if size >= chunk_characters:
            yield "".join(pending).encode()
            pending.clear()
            size = 0
    pending.append(_MULTISTATUS_END)
    yield "".join(pending).encode()


def condition_xml(condition: Condition, hrefs: Iterable[str] = ()) -> str:
    """A condition element, for a DAV:error; `hrefs` are text, already percent-encoded."""
    inner = "".join([f"<D:href>{escape(href)}</D:href>" for href in hrefs])
    name = condition.value
    return f"<D:{name}>{inner}</D:{name}>" if inner else f"<D:{name}/>"


def error_element(conditions_xml: str) -> str:
    """A DAV:error to stand in a response or a propstat."""
    return f"<D:error>{conditions_xml}</D:error>"


def render_error(conditions_xml: str) -> bytes:
    """A whole document whose root is DAV:error (RFC 4918 section 14.5)."""
    return f'{_DECLARATION}<D:error xmlns:D="DAV:">{conditions_xml}</D:error>'.encode()


def render_activelock(lock: Lock, now: datetime, *, token_shown: bool, root_href: str) -> str:
    """A DAV:activelock (RFC 4918 section 14.1), its timeout being what is left at `now`.

    The token is there only where `token_shown`: it is a secret of the lock's creator. `root_href` is
    the lock root's URL path, percent-encoded, with a slash at the end for a collection.
    """
    if lock.owner_xml is not None:
        owner = lock.owner_xml
    else:
        owner = f"<D:owner>{escape(lock.owner)}</D:owner>" if lock.owner else ""
    left = lock.seconds_left(now)
    timeout = "Infinite" if left is None else f"Second-{left}"
    token = f"<D:locktoken><D:href>{escape(lock.token)}</D:href></D:locktoken>" if token_shown else ""
    return (
        f"<D:activelock><D:lockscope><D:{lock.scope.value}/></D:lockscope><D:locktype><D:write/></D:locktype>"
        f"<D:depth>{lock.depth.value}</D:depth>{owner}<D:timeout>{timeout}</D:timeout>{token}"
        f"<D:lockroot><D:href>{escape(root_href)}</D:href></D:lockroot></D:activelock>"
    )


def lockdiscovery(activelocks: Iterable[str]) -> str:
    """The lockdiscovery property (RFC 4918 section 15.8); present, and empty, where nothing is locked."""
    inner = "".join(activelocks)
    return f"<D:lockdiscovery>{inner}</D:lockdiscovery>" if inner else "<D:lockdiscovery/>"


def render_lock_answer(activelocks: Iterable[str]) -> bytes:
    """The body of a successful LOCK: a DAV:prop with its lockdiscovery (RFC 4918 section 9.10.1)."""
    return f'{_DECLARATION}<D:prop xmlns:D="DAV:">{lockdiscovery(activelocks)}</D:prop>'.encode()
