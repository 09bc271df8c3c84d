"""The table of the codes 1xx and 2xx."""

from __future__ import annotations

from typing import Final

from holdfast.wire.statuses.values import (
    RFC2518,
    RFC3229,
    RFC4918,
    RFC5842,
    RFC8297,
    RFC9110,
    Content,
    Registration,
    Requirement,
    Retry,
    RetryAdvice,
    Source,
    StatusInfo,
    may,
    must,
    should,
)

__all__ = ["SUCCESSES"]

_REGISTERED: Final = Registration.REGISTERED
_SENT: Final = Retry(RetryAdvice.NONE, "Nothing to repeat: the request succeeded.")
_ON_ITS_WAY: Final = Retry(RetryAdvice.NONE, "Nothing to repeat: go on reading, the final answer follows.")
_AS_IN_200: Final = "where a 200 to the same request would have carried it"
_RESUMABLE: Final = Source(
    "draft-ietf-httpbis-resumable-upload", "", "https://datatracker.ietf.org/doc/draft-ietf-httpbis-resumable-upload/"
)

_INTERIM: Final = (
    StatusInfo(
        code=100,
        phrase="Continue",
        registration=_REGISTERED,
        source=RFC9110.at("15.2.1"),
        meaning="The head of the request is acceptable so far, and the client should send the body.",
        retry=Retry(RetryAdvice.NONE, "Send the body now; the final answer follows it."),
        is_storable=False,
    ),
    StatusInfo(
        code=101,
        phrase="Switching Protocols",
        registration=_REGISTERED,
        source=RFC9110.at("15.2.2"),
        meaning="The server goes over to the protocol that the client asked for in Upgrade, right after this answer.",
        retry=Retry(RetryAdvice.NONE, "Speak the new protocol on this connection from here on."),
        fields=(
            must("Upgrade", RFC9110.at("15.2.2"), "names the protocol that is spoken from here on"),
            must("Connection", RFC9110.at("7.8"), "lists `upgrade`, for Upgrade is about this connection alone"),
        ),
        is_storable=False,
    ),
    StatusInfo(
        code=102,
        phrase="Processing",
        registration=_REGISTERED,
        source=RFC2518.at("10.1"),
        meaning="The server has the whole request and works on it; RFC 4918 dropped this code, and few clients know it.",
        retry=_ON_ITS_WAY,
        is_storable=False,
    ),
    StatusInfo(
        code=103,
        phrase="Early Hints",
        registration=_REGISTERED,
        source=RFC8297.at("2"),
        meaning="These fields will probably be in the final answer, so the client can begin to load what they link to.",
        retry=_ON_ITS_WAY,
        fields=(may("Link", RFC8297.at("2"), "names what the client will need, for it to load early"),),
        is_storable=False,
    ),
    StatusInfo(
        code=104,
        phrase="Upload Resumption Supported",
        registration=Registration.TEMPORARY,
        source=_RESUMABLE,
        meaning="The server keeps what arrives of this upload, and the client can go on with it after an interruption.",
        retry=_ON_ITS_WAY,
        fields=(may("Location", _RESUMABLE, "names the resource under which the upload can be resumed"),),
        is_storable=False,
    ),
)

_FINAL: Final = (
    StatusInfo(
        code=200,
        phrase="OK",
        registration=_REGISTERED,
        source=RFC9110.at("15.3.1"),
        meaning="The request succeeded; what the content is depends on the method.",
        retry=_SENT,
        is_heuristically_cacheable=True,
    ),
    StatusInfo(
        code=201,
        phrase="Created",
        registration=_REGISTERED,
        source=RFC9110.at("15.3.2"),
        meaning="The request succeeded, and at least one new resource exists because of it.",
        retry=_SENT,
        fields=(
            may("Location", RFC9110.at("15.3.2"), "names the new resource, where it is not the one that was asked"),
            may("ETag", RFC9110.at("8.8.3"), "names the new version, so that the next write can be conditional"),
        ),
    ),
    StatusInfo(
        code=202,
        phrase="Accepted",
        registration=_REGISTERED,
        source=RFC9110.at("15.3.3"),
        meaning="The request was taken in, and will be carried out later, or not at all.",
        retry=Retry(
            RetryAdvice.NONE, "Do not repeat it: look at the address that the answer names to see how it went."
        ),
        content=Content(
            Requirement.SHOULD,
            "Tell how the request stands, and where its progress can be watched.",
            RFC9110.at("15.3.3"),
        ),
    ),
    StatusInfo(
        code=203,
        phrase="Non-Authoritative Information",
        registration=_REGISTERED,
        source=RFC9110.at("15.3.4"),
        meaning="The request succeeded, and a proxy on the way has changed the content of the origin's 200.",
        retry=_SENT,
        is_heuristically_cacheable=True,
    ),
    StatusInfo(
        code=204,
        phrase="No Content",
        registration=_REGISTERED,
        source=RFC9110.at("15.3.5"),
        meaning="The request succeeded, and there is nothing to send in the body.",
        retry=_SENT,
        fields=(may("ETag", RFC9110.at("15.3.5"), "names the version that a PUT has made, for the next write"),),
        is_heuristically_cacheable=True,
    ),
    StatusInfo(
        code=205,
        phrase="Reset Content",
        registration=_REGISTERED,
        source=RFC9110.at("15.3.6"),
        meaning="The request succeeded, and the client should put the form or view that sent it back to its first state.",
        retry=_SENT,
    ),
    StatusInfo(
        code=206,
        phrase="Partial Content",
        registration=_REGISTERED,
        source=RFC9110.at("15.3.7"),
        meaning="The answer holds the parts of the representation that the request asked for with Range.",
        retry=Retry(RetryAdvice.NONE, "Nothing to repeat; ask for the other parts with If-Range."),
        fields=(
            must("Content-Range", RFC9110.at("15.3.7.1"), "says which bytes these are", when="a single part is sent"),
            must(
                "Content-Type",
                RFC9110.at("15.3.7.2"),
                "says multipart/byteranges, and each part has its own Content-Range",
                when="several parts are sent",
            ),
            *(
                must(name, RFC9110.at("15.3.7"), "lets the parts be put together", when=_AS_IN_200)
                for name in ("Date", "Cache-Control", "ETag", "Expires", "Content-Location", "Vary")
            ),
        ),
        is_heuristically_cacheable=True,
    ),
    StatusInfo(
        code=207,
        phrase="Multi-Status",
        registration=_REGISTERED,
        source=RFC4918.at("11.1"),
        meaning="The body tells how it went for each of several resources, each with a status of its own.",
        retry=Retry(RetryAdvice.NONE, "Read the body: a 207 may hold refusals, and only those are worth repeating."),
        fields=(should("Content-Type", RFC4918.at("8.2"), "says application/xml"),),
        content=Content(
            Requirement.MUST, "An XML document with DAV:multistatus as its root element.", RFC4918.at("13")
        ),
    ),
    StatusInfo(
        code=208,
        phrase="Already Reported",
        registration=_REGISTERED,
        source=RFC5842.at("7.1"),
        meaning="Within a 207: the members of this binding were listed before, and are not listed again.",
        retry=_SENT,
    ),
    StatusInfo(
        code=226,
        phrase="IM Used",
        registration=_REGISTERED,
        source=RFC3229.at("10.4.1"),
        meaning="The answer to a GET is the result of instance manipulations, such as a delta, that the client accepts.",
        retry=_SENT,
        fields=(
            should("IM", RFC3229.at("10.5.2"), "lists the manipulations in the order in which they were made"),
            should("ETag", RFC3229.at("10.4.1"), "names the version that the delta leads to"),
            may("Delta-Base", RFC3229.at("10.5.1"), "names the version that the delta starts from"),
        ),
    ),
)

SUCCESSES: Final = (*_INTERIM, *_FINAL)
"""Interim and successful codes, rising."""
