"""The table of the codes 3xx."""

from __future__ import annotations

from typing import Final

from holdfast.wire.statuses.values import (
    RFC9110,
    Content,
    Registration,
    Requirement,
    Retry,
    RetryAdvice,
    StatusField,
    StatusInfo,
    may,
    must,
    should,
)

__all__ = ["REDIRECTS"]

_REGISTERED: Final = Registration.REGISTERED
_WAIT: Final = may("Retry-After", RFC9110.at("10.2.3"), "how long to wait at least before following")
_AS_IN_200: Final = "where a 200 to the same request would have carried it"


def _location(section: str) -> StatusField:
    return should("Location", RFC9110.at(section), "names where to send the next request")


def _note(section: str) -> Content:
    return Content(Requirement.MAY, "A short note with a link to the new address.", RFC9110.at(section))


REDIRECTS: Final = (
    StatusInfo(
        code=300,
        phrase="Multiple Choices",
        registration=_REGISTERED,
        source=RFC9110.at("15.4.1"),
        meaning="There are several representations, each with its own address, and the client may choose one.",
        retry=Retry(RetryAdvice.FOLLOW, "Choose an address from the answer, and ask there."),
        fields=(
            should(
                "Location", RFC9110.at("15.4.1"), "names the server's own choice", when="the server prefers one of them"
            ),
        ),
        content=Content(
            Requirement.SHOULD, "List the representations and their addresses, to choose from.", RFC9110.at("15.4.1")
        ),
        is_heuristically_cacheable=True,
    ),
    StatusInfo(
        code=301,
        phrase="Moved Permanently",
        registration=_REGISTERED,
        source=RFC9110.at("15.4.2"),
        meaning="The resource has a new address for good, and links to the old one should be changed.",
        retry=Retry(
            RetryAdvice.FOLLOW, "Ask at the new address, now and in future; clients turn a POST into a GET here."
        ),
        fields=(_location("15.4.2"), _WAIT),
        content=_note("15.4.2"),
        is_heuristically_cacheable=True,
    ),
    StatusInfo(
        code=302,
        phrase="Found",
        registration=_REGISTERED,
        source=RFC9110.at("15.4.3"),
        meaning="The resource is at another address for the time being; keep using the old one for later requests.",
        retry=Retry(RetryAdvice.FOLLOW, "Ask at the other address this once; clients turn a POST into a GET here."),
        fields=(_location("15.4.3"), _WAIT),
        content=_note("15.4.3"),
    ),
    StatusInfo(
        code=303,
        phrase="See Other",
        registration=_REGISTERED,
        source=RFC9110.at("15.4.4"),
        meaning="The answer to this request is to be fetched with GET from another address.",
        retry=Retry(RetryAdvice.FOLLOW, "Send a GET, whatever the method was, to the other address."),
        fields=(_location("15.4.4"), _WAIT),
        content=_note("15.4.4"),
    ),
    StatusInfo(
        code=304,
        phrase="Not Modified",
        registration=_REGISTERED,
        source=RFC9110.at("15.4.5"),
        meaning="What the client has is still current, so it is not sent again.",
        retry=Retry(RetryAdvice.NONE, "Nothing to repeat: use the stored response."),
        fields=tuple(
            must(name, RFC9110.at("15.4.5"), "brings the stored response up to date", when=_AS_IN_200)
            for name in ("Content-Location", "Date", "ETag", "Vary", "Cache-Control", "Expires")
        ),
    ),
    StatusInfo(
        code=305,
        phrase="Use Proxy",
        registration=_REGISTERED,
        source=RFC9110.at("15.4.6"),
        meaning="Deprecated: it told clients to use a proxy that any server could name, which was a danger.",
        retry=Retry(RetryAdvice.NEVER, "Do not follow it: clients ignore this code for the sake of safety."),
    ),
    StatusInfo(
        code=306,
        phrase="(Unused)",
        registration=Registration.RESERVED,
        source=RFC9110.at("15.4.7"),
        meaning="Reserved: an early draft used it, and it has no meaning any more.",
        retry=Retry(RetryAdvice.NEVER, "There is nothing to follow: treat it as a 300 without choices."),
    ),
    StatusInfo(
        code=307,
        phrase="Temporary Redirect",
        registration=_REGISTERED,
        source=RFC9110.at("15.4.8"),
        meaning="The resource is at another address for the time being, and the request goes there with its method kept.",
        retry=Retry(RetryAdvice.FOLLOW, "Repeat the same method and body at the other address, this once."),
        fields=(_location("15.4.8"), _WAIT),
        content=_note("15.4.8"),
    ),
    StatusInfo(
        code=308,
        phrase="Permanent Redirect",
        registration=_REGISTERED,
        source=RFC9110.at("15.4.9"),
        meaning="The resource has a new address for good, and the request goes there with its method kept.",
        retry=Retry(RetryAdvice.FOLLOW, "Repeat the same method and body at the new address, now and in future."),
        fields=(_location("15.4.9"), _WAIT),
        content=_note("15.4.9"),
        is_heuristically_cacheable=True,
    ),
)
"""Redirections, rising."""
