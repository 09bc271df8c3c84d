"""Rules about the fields of a 423 that caches, and clients that compare versions, act on.

Owns: H05, H06, H08 and H09. Whether a cache may keep a response is judged in `holdfast.inspector.caching`. Must not know: httplint.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.inspector.caching import cache_control, is_reusable, storing
from holdfast.inspector.inspected import Inspected
from holdfast.inspector.notes import Finding, Level, rfc, rule

__all__: list[str] = []


@rule(
    "H05",
    Level.BAD,
    "A 423 gives caches no time to keep it",
    why="A lock may be gone the next second. A cache that was given freshness goes on saying “locked” until it runs out, and "
    "nobody reaches the server to learn better. By itself a 423 is not kept: it is not among the statuses that caches may guess about.",
    mend="Send `Cache-Control: no-store` with every 423.",
    sources=[rfc(9111, "3"), rfc(9110, "15.1"), rfc(9111, "5.2.2.5")],
)
def kept_by_caches(inspected: Inspected) -> Iterator[Finding]:
    """Freshness on a 423 to GET or HEAD; worth knowing only where the method is not known."""
    if inspected.status != 423:
        return
    shared, private = storing(inspected, is_shared=True), storing(inspected, is_shared=False)
    if not (is_reusable(shared) or is_reusable(private)):
        return
    verdict = private if is_reusable(private) else shared
    whose = "Any cache" if is_reusable(shared) else "A browser's cache"
    long = "as long as it guesses" if verdict.reuse_s is None else f"for {verdict.reuse_s:.0f} s"
    if inspected.method:
        yield Finding(f"{whose} may go on answering “locked” {long}", "field Cache-Control")
    else:
        yield Finding(
            f"If this answers a GET: {whose[0].lower()}{whose[1:]} may go on answering “locked” {long}",
            "field Cache-Control",
            Level.INFO,
        )


@rule(
    "H06",
    Level.INFO,
    "A 423 that names a person keeps out of caches by its own words",
    why="The body says who is at work on what. Nothing but the lack of freshness keeps it out of a shared cache, and caches can be "
    "set up to keep errors.",
    mend="Send `Cache-Control: no-store`.",
    sources=[rfc(9111, "5.2.2.5"), rfc(9111, "7.3"), rfc(4918, "20.4")],
)
def person_in_caches(inspected: Inspected) -> Iterator[Finding]:
    """A holder in the body, and neither no-store nor private. Answers to methods that no cache keeps are passed over."""
    locked = inspected.locked
    if inspected.status != 423 or locked is None or inspected.method not in {"", "GET", "HEAD", "POST", "QUERY"}:
        return
    if locked.holder and not cache_control(inspected).keys() & {"no-store", "private"}:
        yield Finding(
            "The body names who holds the lock, and neither no-store nor private is sent", "field Cache-Control"
        )


@rule(
    "H08",
    Level.WARN,
    "A 423 has no ETag and no Last-Modified",
    why="They name the version of what is sent, which here is the error. A client that keeps the ETag of every answer takes it for "
    "the document's, and its next If-Match fails or, worse, fits.",
    mend="Leave both out of refusals; tell the document's version in the body, if at all.",
    sources=[rfc(9110, "8.8"), rfc(9110, "8.8.3")],
)
def validators(inspected: Inspected) -> Iterator[Finding]:
    """ETag or Last-Modified on a 423."""
    if inspected.status != 423:
        return
    for name in ("ETag", "Last-Modified"):
        if inspected.response.has(name):
            yield Finding(f"{name} on a 423 names a version of the refusal, not of the resource", f"field {name}")


@rule(
    "H09",
    Level.BAD,
    "Lock-Token comes only with a new lock",
    why="A Lock-Token in a response says: you have a new lock, and this is its token. On a refusal a client believes that it holds "
    "the lock, or learns a token that is somebody else's.",
    mend="Send Lock-Token in the answer to a LOCK that made a new lock, and nowhere else.",
    sources=[rfc(4918, "10.5"), rfc(4918, "9.10.1")],
)
def lock_token(inspected: Inspected) -> Iterator[Finding]:
    """Lock-Token on a refusal; Office's own answers repeat it beside X-MSDAVEXTLockTimeout."""
    response = inspected.response
    if inspected.status >= 400 and response.has("lock-token") and not response.has("x-msdavextlocktimeout"):
        yield Finding(f"A {inspected.status} has a Lock-Token, as if a lock had been granted", "field Lock-Token")
