"""Refusals as bodies: RFC 9457 problem+json, DAV:error XML, or a page, chosen by Accept.

Owns: the one function that renders every refusal but a 423 (see `locked`).
Must not know: why something was refused; its caller brings the words.
"""

from __future__ import annotations

import enum
from http import HTTPStatus
from typing import Final

from holdfast.wire.davxml_write import HOLDFAST, XML_CONTENT_TYPE, escape, render_error
from holdfast.wire.exchange import Response
from holdfast.wire.problem_json import ABOUT_BLANK, PROBLEM_CONTENT_TYPE, Problem, encode_problem
from holdfast.wire.rfc9110.accept import choose
from holdfast.wire.webpages import HTML_CONTENT_TYPE, PAGE_POLICY, render_refusal_page

__all__ = [
    "PROBLEM_CONTENT_TYPE",
    "Problem",
    "Representation",
    "choose_representation",
    "encode_problem",
    "refusal_headers",
    "render_refusal",
]


class Representation(enum.Enum):
    """The forms that a refusal has; the value is its Content-Type."""

    XML = XML_CONTENT_TYPE
    JSON = PROBLEM_CONTENT_TYPE
    HTML = HTML_CONTENT_TYPE


# What a client may ask for, by the form it gets: in a tie the earlier wins, so each face's own form leads.
_XML_TYPES: Final = (("application/xml", Representation.XML), ("text/xml", Representation.XML))
_OTHER_TYPES: Final = (
    (PROBLEM_CONTENT_TYPE, Representation.JSON),
    ("application/json", Representation.JSON),
    ("text/html", Representation.HTML),
)
_BY_TYPE: Final = dict(_XML_TYPES + _OTHER_TYPES)
_XML_FIRST: Final = tuple(name for name, _ in _XML_TYPES + _OTHER_TYPES)
_JSON_FIRST: Final = tuple(name for name, _ in _OTHER_TYPES + _XML_TYPES)


def choose_representation(accept: str | None, *, prefers_xml: bool) -> Representation:
    """The form to answer in. Where Accept leaves it open, or allows none of ours, XML or else problem+json."""
    if accept is None or accept == "*/*":
        return Representation.XML if prefers_xml else Representation.JSON
    offered = _XML_FIRST if prefers_xml else _JSON_FIRST
    chosen = choose(accept, offered)
    if chosen is None:
        return Representation.XML if prefers_xml else Representation.JSON
    return _BY_TYPE[chosen]


_HEADERS: Final = {
    representation: (
        ("Content-Type", representation.value),
        ("Cache-Control", "no-store"),
        ("Vary", "Accept"),
        ("X-Content-Type-Options", "nosniff"),
        *([("Content-Security-Policy", PAGE_POLICY)] if representation is Representation.HTML else []),
    )
    for representation in Representation
}


def refusal_headers(representation: Representation) -> list[tuple[str, str]]:
    """The fields that every refusal with a body has, in a list of its own."""
    return list(_HEADERS[representation])


def render_refusal(
    status: int,
    title: str,
    detail: str,
    condition_xml: str | None = None,
    accept: str | None = None,
    *,
    prefers_xml: bool = True,
    problem_type: str = ABOUT_BLANK,
) -> Response:
    """Answer with a refusal in the form that `accept` asks for.

    `title` may be empty: the status's own phrase. `condition_xml` is a precondition element for the
    DAV:error (`davxml_write.condition_xml`). The caller adds fields that the status demands (Allow, WWW-Authenticate).
    """
    representation = choose_representation(accept, prefers_xml=prefers_xml)
    title = title or _phrase(status)
    if representation is Representation.XML:
        said = f"<H:title>{escape(title)}</H:title><H:detail>{escape(detail)}</H:detail>"
        body = render_error(f'{condition_xml or ""}<H:problem xmlns:H="{HOLDFAST}">{said}</H:problem>')
    elif representation is Representation.JSON:
        # A lone surrogate, from a name on disk that is not UTF-8, has no place in JSON text.
        sayable = detail.encode("utf-8", "replace").decode()
        body = encode_problem(Problem(type=problem_type, title=title, status=status, detail=sayable))
    else:
        body = render_refusal_page(status, title, detail)
    return Response(status, refusal_headers(representation), body)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Refused"
