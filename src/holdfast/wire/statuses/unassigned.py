"""What can be said of a code that no specification has given a meaning.

Owns: the rule for such codes (RFC 9110 section 15: as the x00 of their class), and which programs use some of them
all the same. Must not know: the registered codes.
"""

from __future__ import annotations

from typing import Final

from holdfast.wire.statuses.values import (
    RFC9110,
    Content,
    Registration,
    Requirement,
    Retry,
    RetryAdvice,
    StatusClass,
    StatusInfo,
)

__all__ = ["UNOFFICIAL", "unassigned"]

UNOFFICIAL: Final = {
    419: "Laravel: the page's CSRF token has expired",
    420: "Twitter, in former times: too many requests; Shopify, too: the shop is locked",
    430: "Shopify: the request looks malicious",
    440: "Microsoft IIS: the session has ended, log in again",
    444: "nginx: the connection was closed without an answer (in its log alone)",
    449: "Microsoft IIS: retry with the information that was missing",
    450: "Microsoft Windows: blocked by parental controls",
    460: "AWS load balancers: the client closed the connection first (in their log)",
    463: "AWS load balancers: too many addresses in X-Forwarded-For",
    494: "nginx: the request's fields are too large (in its log)",
    495: "nginx: the client's certificate is not valid",
    496: "nginx: the client sent no certificate",
    497: "nginx: HTTP was spoken on a port for HTTPS",
    498: "Esri ArcGIS: the token is invalid or has expired",
    499: "nginx: the client closed the connection before the answer (in its log alone)",
    509: "Apache and cPanel: the bandwidth limit is exceeded",
    520: "Cloudflare: the origin's answer could not be understood",
    521: "Cloudflare: the origin refuses connections",
    522: "Cloudflare: connecting to the origin took too long",
    523: "Cloudflare: the origin cannot be reached",
    524: "Cloudflare: the origin took too long to answer",
    525: "Cloudflare: the TLS handshake with the origin failed",
    526: "Cloudflare: the origin's certificate is not valid",
    529: "some services: overloaded",
    530: "Cloudflare: an error of its own, told in the body",
    561: "AWS load balancers: the identity provider reported an error",
    598: "some proxies: reading from the next server took too long",
    599: "some proxies and clients: connecting took too long",
}
"""Who uses a code without a registration, and for what."""

_RETRY: Final = {
    StatusClass.INFORMATIONAL: Retry(RetryAdvice.NONE, "Pass over it, and read on: the final answer follows."),
    StatusClass.SUCCESSFUL: Retry(RetryAdvice.NONE, "Nothing to repeat: a client treats it as 200."),
    StatusClass.REDIRECTION: Retry(
        RetryAdvice.CHANGED, "A client treats it as 300: it looks into the answer for where to go."
    ),
    StatusClass.CLIENT_ERROR: Retry(RetryAdvice.CHANGED, "A client treats it as 400: the same request fails again."),
    StatusClass.SERVER_ERROR: Retry(
        RetryAdvice.LATER_IF_IDEMPOTENT,
        "A client treats it as 500: repeat it later where sending twice does no harm, a few times at most.",
    ),
}

_ERRORS: Final = {StatusClass.CLIENT_ERROR: "15.5", StatusClass.SERVER_ERROR: "15.6"}


def unassigned(code: int) -> StatusInfo:
    """What is known of `code`, from 100 to 599, which the registry does not list."""
    status_class = StatusClass.of(code)
    use = UNOFFICIAL.get(code)
    told = f" In use all the same, by {use}." if use else ""
    section = _ERRORS.get(status_class)
    explanation = (
        None
        if section is None
        else Content(Requirement.SHOULD, "Explain what went wrong, and whether it will last.", RFC9110.at(section))
    )
    return StatusInfo(
        code=code,
        phrase="Unassigned",
        registration=Registration.UNASSIGNED,
        source=RFC9110.at("15"),
        meaning=f"No specification gives it a meaning, so a client treats it as {code // 100}00.{told}",
        retry=_RETRY[status_class],
        content=explanation,
        is_storable=status_class is not StatusClass.INFORMATIONAL,
    )
