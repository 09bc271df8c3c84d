"""The table of the codes 4xx."""

from __future__ import annotations

from typing import Final

from holdfast.wire.statuses.values import (
    RFC4918,
    RFC6585,
    RFC7725,
    RFC8470,
    RFC9110,
    RFC9112,
    Content,
    Document,
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

__all__ = ["CLIENT_ERRORS"]

_REGISTERED: Final = Registration.REGISTERED
_RFC5789: Final = Document("RFC 5789", "https://www.rfc-editor.org/rfc/rfc5789.html")


def _explain(source: Source | None = None, sentence: str = "") -> Content:
    return Content(
        Requirement.SHOULD,
        sentence or "Explain what is wrong, and whether it will last.",
        source or RFC9110.at("15.5"),
    )


def _changed(sentence: str) -> Retry:
    return Retry(RetryAdvice.CHANGED, sentence)


_OF_THE_REQUEST: Final = (
    StatusInfo(
        code=400,
        phrase="Bad Request",
        registration=_REGISTERED,
        source=RFC9110.at("15.5.1"),
        meaning="The server will not handle the request because something in it is wrong.",
        retry=_changed("Do not repeat it as it is; mend what the answer complains of."),
        content=_explain(),
    ),
    StatusInfo(
        code=401,
        phrase="Unauthorized",
        registration=_REGISTERED,
        source=RFC9110.at("15.5.2"),
        meaning="The request lacks valid credentials: the server does not know who is asking.",
        retry=_changed("Repeat it with credentials, or with better ones, by a scheme that WWW-Authenticate offers."),
        fields=(must("WWW-Authenticate", RFC9110.at("15.5.2"), "offers at least one way to authenticate"),),
        content=_explain(),
    ),
    StatusInfo(
        code=402,
        phrase="Payment Required",
        registration=_REGISTERED,
        source=RFC9110.at("15.5.3"),
        meaning="Reserved for the future; services use it where an account must be paid first.",
        retry=_changed("Do not repeat it before whatever is owed is paid."),
        content=_explain(),
    ),
    StatusInfo(
        code=403,
        phrase="Forbidden",
        registration=_REGISTERED,
        source=RFC9110.at("15.5.4"),
        meaning="The server understood the request, and refuses it; the credentials do not suffice, or none would.",
        retry=_changed("Do not repeat it with the same credentials."),
        content=_explain(),
    ),
    StatusInfo(
        code=404,
        phrase="Not Found",
        registration=_REGISTERED,
        source=RFC9110.at("15.5.5"),
        meaning="There is nothing at this address, or the server does not want to say that there is.",
        retry=_changed("Do not repeat it; it is not said whether something will ever be there."),
        content=_explain(),
        is_heuristically_cacheable=True,
    ),
    StatusInfo(
        code=405,
        phrase="Method Not Allowed",
        registration=_REGISTERED,
        source=RFC9110.at("15.5.6"),
        meaning="The server knows the method, but this resource does not support it.",
        retry=_changed("Use one of the methods in Allow."),
        fields=(must("Allow", RFC9110.at("15.5.6"), "lists the methods that the resource supports now"),),
        content=_explain(),
        is_heuristically_cacheable=True,
    ),
    StatusInfo(
        code=406,
        phrase="Not Acceptable",
        registration=_REGISTERED,
        source=RFC9110.at("15.5.7"),
        meaning="No representation is of a kind that the request's Accept fields allow.",
        retry=_changed("Ask again and accept one of the kinds that the answer lists."),
        content=_explain(RFC9110.at("15.5.7"), "List the representations that there are, to choose from."),
    ),
    StatusInfo(
        code=407,
        phrase="Proxy Authentication Required",
        registration=_REGISTERED,
        source=RFC9110.at("15.5.8"),
        meaning="The proxy, not the server behind it, wants to know who is asking.",
        retry=_changed("Repeat it with Proxy-Authorization, by a scheme that Proxy-Authenticate offers."),
        fields=(must("Proxy-Authenticate", RFC9110.at("15.5.8"), "offers at least one way to authenticate"),),
        content=_explain(),
    ),
    StatusInfo(
        code=408,
        phrase="Request Timeout",
        registration=_REGISTERED,
        source=RFC9110.at("15.5.9"),
        meaning="The whole request did not arrive within the time that the server was ready to wait.",
        retry=Retry(RetryAdvice.LATER, "Send it again, on a new connection: it did not arrive completely."),
        fields=(may("Connection", RFC9112.at("9.6"), "says `close` where the connection cannot be used any more"),),
        content=_explain(),
    ),
    StatusInfo(
        code=409,
        phrase="Conflict",
        registration=_REGISTERED,
        source=RFC9110.at("15.5.10"),
        meaning="The request does not go with the state that the resource is in now.",
        retry=_changed("Look at the current state, resolve the conflict, and send a request that fits it."),
        content=_explain(RFC9110.at("15.5.10"), "Say enough for a person to recognize where the conflict comes from."),
    ),
    StatusInfo(
        code=410,
        phrase="Gone",
        registration=_REGISTERED,
        source=RFC9110.at("15.5.11"),
        meaning="The resource was here, is not any more, and this is likely for good.",
        retry=Retry(RetryAdvice.NEVER, "Do not repeat it, and take links to this address away."),
        content=_explain(),
        is_heuristically_cacheable=True,
    ),
    StatusInfo(
        code=411,
        phrase="Length Required",
        registration=_REGISTERED,
        source=RFC9110.at("15.5.12"),
        meaning="The server wants to know the length of the body beforehand.",
        retry=_changed("Repeat it with a Content-Length."),
        content=_explain(),
    ),
    StatusInfo(
        code=412,
        phrase="Precondition Failed",
        registration=_REGISTERED,
        source=RFC9110.at("15.5.13"),
        meaning="A condition in the request's fields, such as If-Match or If, is false, so nothing was done.",
        retry=_changed("Fetch the current state, merge, and send it with a condition that fits."),
        content=_explain(),
    ),
    StatusInfo(
        code=413,
        phrase="Content Too Large",
        registration=_REGISTERED,
        source=RFC9110.at("15.5.14"),
        meaning="The body is larger than the server is willing or able to take.",
        retry=_changed("Send less; only with a Retry-After can the same request succeed later."),
        fields=(should("Retry-After", RFC9110.at("15.5.14"), "says when to try again", when="this will pass"),),
        content=_explain(),
    ),
    StatusInfo(
        code=414,
        phrase="URI Too Long",
        registration=_REGISTERED,
        source=RFC9110.at("15.5.15"),
        meaning="The address is longer than the server is willing to read.",
        retry=_changed("Ask with a shorter address; long forms belong into the body of a POST."),
        content=_explain(),
        is_heuristically_cacheable=True,
    ),
    StatusInfo(
        code=415,
        phrase="Unsupported Media Type",
        registration=_REGISTERED,
        source=RFC9110.at("15.5.16"),
        meaning="The body is of a type, or in a coding, that this method does not support here.",
        retry=_changed("Send the body in a type and coding that the answer lists."),
        fields=(
            may("Accept", RFC9110.at("12.5.1"), "lists the types that are supported", when="the type is at fault"),
            should(
                "Accept-Encoding",
                RFC9110.at("15.5.16"),
                "lists the codings that are supported",
                when="the content coding is at fault",
            ),
            should("Accept-Patch", _RFC5789.at("2.2"), "lists the patch formats", when="the method is PATCH"),
        ),
        content=_explain(),
    ),
    StatusInfo(
        code=416,
        phrase="Range Not Satisfiable",
        registration=_REGISTERED,
        source=RFC9110.at("15.5.17"),
        meaning="None of the ranges that were asked for lies within the representation, or they are refused.",
        retry=_changed("Ask for a range within the length that Content-Range tells."),
        fields=(
            should(
                "Content-Range",
                RFC9110.at("15.5.17"),
                "tells the current length, as `bytes */1234`",
                when="the ranges were in bytes",
            ),
        ),
        content=_explain(),
    ),
    StatusInfo(
        code=417,
        phrase="Expectation Failed",
        registration=_REGISTERED,
        source=RFC9110.at("15.5.18"),
        meaning="A server on the way cannot do what the Expect field asks for.",
        retry=_changed("Repeat it without Expect."),
        content=_explain(),
    ),
    StatusInfo(
        code=418,
        phrase="(Unused)",
        registration=Registration.RESERVED,
        source=RFC9110.at("15.5.19"),
        meaning="Reserved because of a joke (“I'm a teapot”, RFC 2324), and not for use until the jokes are forgotten.",
        retry=_changed("A client treats it as 400; a teapot will not learn to brew coffee."),
        content=_explain(),
    ),
    StatusInfo(
        code=421,
        phrase="Misdirected Request",
        registration=_REGISTERED,
        source=RFC9110.at("15.5.20"),
        meaning="The request came to a server that cannot answer for this host, often over a connection shared too widely.",
        retry=Retry(RetryAdvice.LATER, "Send it again, whatever its method, on another connection of its own."),
        content=_explain(),
    ),
    StatusInfo(
        code=422,
        phrase="Unprocessable Content",
        registration=_REGISTERED,
        source=RFC9110.at("15.5.21"),
        meaning="The body is well-formed and of the right type, but what it says cannot be carried out.",
        retry=_changed("Do not repeat it as it is; mend what the answer complains of in the body."),
        content=_explain(),
    ),
)

_OF_THE_STATE: Final = (
    StatusInfo(
        code=423,
        phrase="Locked",
        registration=_REGISTERED,
        source=RFC4918.at("11.3"),
        meaning="The source or destination of the request is locked by someone, so it was not carried out.",
        retry=Retry(
            RetryAdvice.LATER,
            "Nothing was done, so any method may be sent again: once the lock is gone, or at once with its token by its creator.",
        ),
        fields=(
            may(
                "Retry-After", RFC9110.at("10.2.3"), "says when trying again can help, at the end of the lock or sooner"
            ),
        ),
        content=Content(
            Requirement.SHOULD,
            "A DAV:error with lock-token-submitted, or no-conflicting-lock for a LOCK, and the address of the lock's root.",
            RFC4918.at("11.3"),
        ),
    ),
    StatusInfo(
        code=424,
        phrase="Failed Dependency",
        registration=_REGISTERED,
        source=RFC4918.at("11.4"),
        meaning="This was not done because something else that it depended on, in the same request, failed.",
        retry=_changed("Mend what failed first, which another status in the same answer tells, then repeat the whole."),
        content=_explain(),
    ),
    StatusInfo(
        code=425,
        phrase="Too Early",
        registration=_REGISTERED,
        source=RFC8470.at("5.2"),
        meaning="The request came as TLS early data, which somebody could replay, and the server will not risk it.",
        retry=Retry(RetryAdvice.LATER, "Send it again, without early data, once the TLS handshake is complete."),
        content=_explain(),
    ),
    StatusInfo(
        code=426,
        phrase="Upgrade Required",
        registration=_REGISTERED,
        source=RFC9110.at("15.5.22"),
        meaning="The server wants another protocol to be spoken before it answers this request.",
        retry=_changed("Repeat it over one of the protocols in Upgrade."),
        fields=(
            must("Upgrade", RFC9110.at("15.5.22"), "lists the protocols that would do"),
            must("Connection", RFC9110.at("7.8"), "lists `upgrade`, for Upgrade is about this connection alone"),
        ),
        content=_explain(),
    ),
    StatusInfo(
        code=428,
        phrase="Precondition Required",
        registration=_REGISTERED,
        source=RFC6585.at("3"),
        meaning="The server wants the request to be conditional, so that nobody's change is lost unseen.",
        retry=_changed("Fetch the current version, and repeat it with If-Match, or with the token of a lock."),
        content=_explain(RFC6585.at("3"), "Explain how to send it so that it succeeds."),
        is_storable=False,
    ),
    StatusInfo(
        code=429,
        phrase="Too Many Requests",
        registration=_REGISTERED,
        source=RFC6585.at("4"),
        meaning="The client has sent too many requests in too short a time.",
        retry=Retry(
            RetryAdvice.LATER, "Repeat it after the time in Retry-After, or after pauses that grow; send fewer."
        ),
        fields=(may("Retry-After", RFC6585.at("4"), "says how long to wait"),),
        content=_explain(RFC6585.at("4"), "Explain the limit that was passed."),
        is_storable=False,
    ),
    StatusInfo(
        code=431,
        phrase="Request Header Fields Too Large",
        registration=_REGISTERED,
        source=RFC6585.at("5"),
        meaning="One field of the request is too large, or all of them together are.",
        retry=_changed("Send smaller fields: fewer cookies, most often."),
        content=_explain(RFC6585.at("5"), "Name the field, where a single one is too large."),
        is_storable=False,
    ),
    StatusInfo(
        code=451,
        phrase="Unavailable For Legal Reasons",
        registration=_REGISTERED,
        source=RFC7725.at("3"),
        meaning="Access is denied because of a legal demand.",
        retry=_changed("Do not repeat it: the answer says who demands what."),
        fields=(should("Link", RFC7725.at("4"), "names whoever blocks it, with the relation `blocked-by`"),),
        content=_explain(RFC7725.at("3"), "Explain the demand: who makes it, and what it applies to."),
    ),
)

CLIENT_ERRORS: Final = (*_OF_THE_REQUEST, *_OF_THE_STATE)
"""Errors of the client, rising."""
