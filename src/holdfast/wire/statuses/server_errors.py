"""The table of the codes 5xx."""

from __future__ import annotations

from typing import Final

from holdfast.wire.statuses.values import (
    RFC4918,
    RFC5842,
    RFC6585,
    RFC9110,
    Content,
    Document,
    Registration,
    Requirement,
    Retry,
    RetryAdvice,
    Source,
    StatusInfo,
    may,
)

__all__ = ["SERVER_ERRORS"]

_REGISTERED: Final = Registration.REGISTERED
_RFC2295: Final = Document("RFC 2295", "https://www.rfc-editor.org/rfc/rfc2295.html")
_RFC2774: Final = Document("RFC 2774", "https://www.rfc-editor.org/rfc/rfc2774.html")


def _explain(source: Source | None = None, sentence: str = "") -> Content:
    return Content(
        Requirement.SHOULD,
        sentence or "Explain what went wrong, and whether it will last.",
        source or RFC9110.at("15.6"),
    )


SERVER_ERRORS: Final = (
    StatusInfo(
        code=500,
        phrase="Internal Server Error",
        registration=_REGISTERED,
        source=RFC9110.at("15.6.1"),
        meaning="The server met something that it did not expect, and could not do what was asked.",
        retry=Retry(
            RetryAdvice.LATER_IF_IDEMPOTENT,
            "Repeat it after a pause where sending twice does no harm, a few times at most: it may have been carried out in part.",
        ),
        content=_explain(),
    ),
    StatusInfo(
        code=501,
        phrase="Not Implemented",
        registration=_REGISTERED,
        source=RFC9110.at("15.6.2"),
        meaning="The server does not know the method, or cannot do what is asked for any resource.",
        retry=Retry(RetryAdvice.NEVER, "Do not repeat it: this server cannot do it."),
        content=_explain(),
        is_heuristically_cacheable=True,
    ),
    StatusInfo(
        code=502,
        phrase="Bad Gateway",
        registration=_REGISTERED,
        source=RFC9110.at("15.6.3"),
        meaning="A gateway or proxy got an answer from the server behind it that it could not use.",
        retry=Retry(
            RetryAdvice.LATER_IF_IDEMPOTENT,
            "Repeat it after a pause where sending twice does no harm: the server behind may have carried it out.",
        ),
        content=_explain(),
    ),
    StatusInfo(
        code=503,
        phrase="Service Unavailable",
        registration=_REGISTERED,
        source=RFC9110.at("15.6.4"),
        meaning="The server cannot answer just now, being overloaded or under maintenance; this will likely pass.",
        retry=Retry(
            RetryAdvice.LATER,
            "Repeat it after the time in Retry-After, or after pauses that grow, a few times at most.",
        ),
        fields=(may("Retry-After", RFC9110.at("15.6.4"), "says when to try again"),),
        content=_explain(),
    ),
    StatusInfo(
        code=504,
        phrase="Gateway Timeout",
        registration=_REGISTERED,
        source=RFC9110.at("15.6.5"),
        meaning="A gateway or proxy waited too long for the server behind it.",
        retry=Retry(
            RetryAdvice.LATER_IF_IDEMPOTENT,
            "Repeat it after a pause where sending twice does no harm: the server behind may still be at work on it.",
        ),
        content=_explain(),
    ),
    StatusInfo(
        code=505,
        phrase="HTTP Version Not Supported",
        registration=_REGISTERED,
        source=RFC9110.at("15.6.6"),
        meaning="The server does not speak the major version of HTTP that the request uses.",
        retry=Retry(RetryAdvice.CHANGED, "Ask with another version of HTTP."),
        content=_explain(RFC9110.at("15.6.6"), "Say why that version is not supported, and which other protocols are."),
    ),
    StatusInfo(
        code=506,
        phrase="Variant Also Negotiates",
        registration=_REGISTERED,
        source=_RFC2295.at("8.1"),
        meaning="The server is misconfigured: the representation that it chose negotiates once more, without end.",
        retry=Retry(RetryAdvice.NEVER, "Do not repeat it: somebody must mend the server first."),
        content=_explain(),
    ),
    StatusInfo(
        code=507,
        phrase="Insufficient Storage",
        registration=_REGISTERED,
        source=RFC4918.at("11.5"),
        meaning="The server has no room to store what the request brings.",
        retry=Retry(
            RetryAdvice.CHANGED,
            "Make room first, and let a person ask for it again: it must not be repeated without one (RFC 4918 section 11.5).",
        ),
        content=_explain(),
    ),
    StatusInfo(
        code=508,
        phrase="Loop Detected",
        registration=_REGISTERED,
        source=RFC5842.at("7.2"),
        meaning="A request with Depth infinity would run in a circle, through a binding that leads back above itself.",
        retry=Retry(
            RetryAdvice.CHANGED, "Ask with Depth 0 or 1, or with `DAV: bind`, so that the server can answer 208."
        ),
        content=_explain(),
    ),
    StatusInfo(
        code=510,
        phrase="Not Extended (OBSOLETED)",
        registration=_REGISTERED,
        source=_RFC2774.at("7"),
        meaning="Obsolete: the request lacked an extension that the server demands, by a framework nobody uses.",
        retry=Retry(RetryAdvice.CHANGED, "Ask with the extensions that the answer names."),
        content=_explain(),
    ),
    StatusInfo(
        code=511,
        phrase="Network Authentication Required",
        registration=_REGISTERED,
        source=RFC6585.at("6"),
        meaning="The network, not the server that was asked, wants the client to log in first: a captive portal.",
        retry=Retry(
            RetryAdvice.LATER, "Log in to the network, then send the same request: it never reached the server."
        ),
        content=_explain(
            RFC6585.at("6"), "Link to where one can log in; the login form itself must not stand in the answer."
        ),
        is_storable=False,
    ),
)
"""Errors of the server, rising."""
