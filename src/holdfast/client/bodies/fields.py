"""Answers whose header fields say "locked": WOPI, Azure, tus, ASP.NET's state server, Shopify, HubSpot, Office.

Owns: those fields. Must not know: bodies; Retry-After and Link, which any server may send (see `reading`).
The lock of X-WOPI-Lock is a secret of those who edit together, and is passed over.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from urllib.parse import unquote, urlsplit

from holdfast.client.bodies.found import Asked, Found
from holdfast.client.bodies.prose import told
from holdfast.client.bodies.values import seconds, text, words
from holdfast.client.bodies.vendor_xml import azure_found
from holdfast.client.details import LockedKind

__all__ = ["read_aspnet", "read_azure_fields", "read_hubspot", "read_office", "read_shopify", "read_tus", "read_wopi"]

HUBSPOT_SECONDS: Final = 2.0
"""How long HubSpot's documentation says that its locks last."""

_OFFICE_LOCKED: Final = "589838"  # [MS-WDV] section 2.2: 0x0009000E
_MOST_AGE: Final = 10 * 365 * 86_400.0


def read_wopi(asked: Asked) -> Found | None:
    """[MS-WOPI] section 3.3.5: X-WOPI-Lock names the lock there is; empty, there is none and the one sent is no more."""
    fields = asked.headers
    reason = words(fields.get("x-wopi-lockfailurereason"))
    other = fields.get("x-wopi-lockedbyotherinterface", "").strip().lower() == "true"
    if not ("x-wopi-lock" in fields or reason or other):
        return None
    held = other or bool(fields.get("x-wopi-lock", "").strip())
    holder = text(fields.get("x-wopi-conflictinglockusername"))
    held = held or bool(holder)
    kind = LockedKind.HELD_BY_OTHER if held else LockedKind.BAD_TOKEN
    if not held and "x-wopi-lock" not in fields:
        kind = LockedKind.UNKNOWN
    return Found(
        service="wopi",
        kind=kind,
        code="LockedByOtherInterface" if other else "LockMismatch",
        message=reason,
        locks=(asked.lock(holder=holder),) if holder else (),
    )


def read_azure_fields(asked: Asked) -> Found | None:
    """x-ms-error-code, all that there is of an error in the answer to HEAD."""
    return azure_found(text(asked.headers.get("x-ms-error-code")), "", asked)


def read_tus(asked: Asked) -> Found | None:
    """A resumable upload that another request is still writing; its lock goes with that request."""
    if "tus-resumable" not in asked.headers or asked.status != 423:
        return None
    return Found(service="tus", kind=LockedKind.HELD_BY_OTHER)


def read_aspnet(asked: Asked) -> Found | None:
    """[MS-ASP] section 2.2.4: a session that another request has locked for LockAge seconds. The LockCookie is passed over."""
    age = seconds(asked.headers.get("lockage"))
    if age is None or ("lockcookie" not in asked.headers and asked.status != 423):
        return None
    since = None
    if asked.answered_at is not None and 0 <= age <= _MOST_AGE:
        since = asked.answered_at - timedelta(seconds=age)
    return Found(service="aspnet-state", kind=LockedKind.HELD_BY_OTHER, locks=(asked.lock(since=since),))


def read_shopify(asked: Asked) -> Found | None:
    """A store that is locked for good, for an unpaid bill or the end of a trial."""
    fields = asked.headers
    if asked.status != 423:
        return None
    theirs = "x-shopid" in fields or any(name.startswith("x-shopify-") for name in fields)
    if not theirs and not _host(asked).endswith(".myshopify.com"):
        return None
    return Found(service="shopify", kind=LockedKind.ADMINISTRATIVE)


def read_hubspot(asked: Asked) -> Found | None:
    """HubSpot's locks last two seconds, as its documentation says."""
    theirs = "x-hubspot-correlation-id" in asked.headers or _host(asked) in {"api.hubapi.com", "api.hubspot.com"}
    if asked.status != 423 or not theirs:
        return None
    return Found(service="hubspot", kind=LockedKind.HELD_BY_OTHER, retry_after=HUBSPOT_SECONDS)


def read_office(asked: Asked) -> Found | None:
    """X-MSDAVEXT_ERROR: the number of "locked by another user", and a sentence for a person."""
    number, _, sentence = asked.headers.get("x-msdavext_error", "").partition(";")
    if number.strip() != _OFFICE_LOCKED:
        return None
    message = words(unquote(sentence.strip(), errors="replace"))
    facts = told(message)
    locks = (asked.lock(holder=facts.holder),) if facts.holder else ()
    return Found(service="msdavext", kind=LockedKind.HELD_BY_OTHER, code=_OFFICE_LOCKED, message=message, locks=locks)


def _host(asked: Asked) -> str:
    try:
        return (urlsplit(asked.response.url).hostname or "").lower()
    except ValueError:
        return ""
