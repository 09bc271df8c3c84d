"""Whether a refusal's body is what its Content-Type says and the client reads: rules L12 and L13.

Owns: XML under a false name or charset, and pages sent to programs. Must not know: what the body says.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Final

from holdfast.inspector.davbody import is_webdav
from holdfast.inspector.inspected import WEBDAV_METHODS, Inspected
from holdfast.inspector.notes import Finding, Level, rfc, rule
from holdfast.wire.davxml import DAV
from holdfast.wire.rfc9110.accept import choose
from holdfast.wire.sentences import clean

_XML: Final = frozenset({"application/xml", "text/xml"})
_CHARSET: Final = re.compile(r";[ \t]*charset[ \t]*=[ \t]*\"?([A-Za-z0-9._:+-]{1,40})", re.IGNORECASE)
_DECLARED: Final = re.compile(rb"<\?xml[^>]{0,200}?\sencoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
_PAGE: Final = re.compile(rb"\s{0,200}(?:<!doctype html|<html)[\s>]", re.IGNORECASE)
_OF_PROGRAMS: Final = frozenset({"PUT", "PATCH", "DELETE"})  # links and forms make none of these
_PAGES: Final = ("text/html", "application/xhtml+xml")


@rule(
    "L12",
    Level.BAD,
    "An XML body is sent as application/xml, and its charset agrees with its own declaration",
    why="Clients decide by the Content-Type whether to read the body at all: XML as text/html or without a type is shown as a page or"
    " passed over. Where field and declaration name different charsets, names with accents come out wrong, or the parser gives up.",
    mend='Send `Content-Type: application/xml; charset="utf-8"`, write the body in UTF-8, and say the same in its declaration or'
    " nothing.",
    sources=[rfc(4918, "8.2"), rfc(7303, "3")],
)
def xml_is_called_xml(inspected: Inspected) -> Iterator[Finding]:
    """L12."""
    root = inspected.root
    if root is None or root.name.lower() == "html":
        return
    if root.namespace != DAV and not (inspected.status == 423 and is_webdav(inspected)):
        return
    media_type = inspected.response.media_type
    if media_type not in _XML:
        said = f"as {clean(media_type, 80)}" if media_type else "without Content-Type"
        level = Level.WARN if media_type.endswith("+xml") else None
        yield Finding(f"The XML body is sent {said}, not as application/xml", "field Content-Type", level)
        return
    named = _CHARSET.search(inspected.response.field("content-type") or "")
    declared = _DECLARED.match(inspected.content.removeprefix(b"\xef\xbb\xbf"))
    if named is None or declared is None:
        return
    outer, inner = named[1], declared[1].decode("ascii")
    if _name_of(outer) != _name_of(inner):
        level = Level.INFO if inspected.content.isascii() else None
        yield Finding(f"Content-Type says charset {outer}, the XML declaration {inner}", "field Content-Type", level)


@rule(
    "L13",
    Level.WARN,
    "A 423 to a program is no HTML page",
    why="A sync client or script looks for a code and a lock root, finds markup made for eyes, and shows it raw or reports a broken"
    " server. The person never learns that the document is merely locked.",
    mend="Choose by Accept: a page only where text/html is asked for; DAV:error XML for WebDAV methods and whoever accepts"
    " anything; problem details for APIs. Then say `Vary: Accept`.",
    sources=[rfc(9110, "12.5.1"), rfc(4918, "11.3")],
)
def no_page_for_programs(inspected: Inspected) -> Iterator[Finding]:
    """L13. Without the request nothing is said: it may have been a browser."""
    if inspected.status != 423 or inspected.request is None or inspected.lacks_content:
        return
    media_type = inspected.response.media_type
    if media_type not in _PAGES and (media_type or not _PAGE.match(inspected.content)):
        return
    accept = inspected.exchange.requested("accept")
    named = any(page in (accept or "").lower() for page in _PAGES)
    if accept and choose(accept, _PAGES) is None:
        yield Finding(
            f"The 423 is an HTML page, and the request accepts only {clean(accept, 120)}", "field Content-Type"
        )
    elif inspected.method in WEBDAV_METHODS and not named:
        yield Finding(f"{inspected.method} is answered with an HTML page that it did not ask for", "field Content-Type")
    elif inspected.method in _OF_PROGRAMS and not named:
        said = f"{inspected.method} is answered with an HTML page; no browser shows a page for it"
        yield Finding(said, "field Content-Type", Level.INFO)


def _name_of(charset: str) -> str:
    """One name for each charset, whatever it is called."""
    try:
        return codecs.lookup(charset).name
    except (LookupError, ValueError):
        return charset.lower()
