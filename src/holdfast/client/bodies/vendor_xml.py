"""XML that is not WebDAV's: Azure's storage errors, SAP ADT's exceptions, and whatever else has words in it.

Owns: Azure's lease codes, which its header fields share, and SAP's exception types. Must not know: DAV:.
"""

from __future__ import annotations

from typing import Final

from holdfast.client.bodies.coded import kind_of_words
from holdfast.client.bodies.found import Asked, Found
from holdfast.client.bodies.prose import read_sentence, told
from holdfast.client.bodies.values import seconds, text, words
from holdfast.client.details import LockedKind
from holdfast.wire.xmlread import Element

__all__ = ["azure_found", "read_azure", "read_sap", "read_words"]

_HELD, _BAD = LockedKind.HELD_BY_OTHER, LockedKind.BAD_TOKEN

_LEASES: Final = {
    "leasealreadypresent": _HELD,
    "leaseidmissing": _HELD,
    "leaseisbreakingandcannotbeacquired": _HELD,
    "leaseisbreakingandcannotbechanged": _HELD,
    "leaseidmismatchwithbloboperation": _BAD,
    "leaseidmismatchwithcontaineroperation": _BAD,
    "leaseidmismatchwithfileoperation": _BAD,
    "leaseidmismatchwithleaseoperation": _BAD,
    "leaseisbrokenandcannotberenewed": _BAD,
    "leaselost": _BAD,
    "leasenotpresentwithbloboperation": _BAD,
    "leasenotpresentwithcontaineroperation": _BAD,
    "leasenotpresentwithfileoperation": _BAD,
    "leasenotpresentwithleaseoperation": _BAD,
    "sharingviolation": _HELD,
    "filelockconflict": _HELD,
}

_SAP_TYPES: Final = {
    "exceptionresourceinvalidlockhandle": _BAD,
    "exceptionresourcelockedbyanotheruser": _HELD,
    "exceptionresourcelocked": _HELD,
    "exceptionresourcelockconflict": _HELD,
}


def azure_found(code: str, message: str, asked: Asked) -> Found | None:
    """What a lease code of Azure Storage means; None for any other code."""
    kind = _LEASES.get(code.lower())
    if kind is None:
        return None
    remaining = seconds(asked.headers.get("x-ms-lease-time"))
    endless = asked.headers.get("x-ms-lease-duration", "").strip().lower() == "infinite"
    locks = ()
    if kind is _HELD and (remaining is not None or endless):
        locks = (asked.lock(remaining=None if remaining is None else max(remaining, 0.0), endless=endless),)
    return Found(service="azure-storage", kind=kind, code=code, message=message, locks=locks)


def read_azure(root: Element, asked: Asked) -> Found | None:
    """`<Error><Code>LeaseIdMissing</Code><Message>...`."""
    if root.name != "Error":
        return None
    said = {item.name: item.text() for item in root.elements()}
    return azure_found(text(said.get("Code")), words(said.get("Message")), asked)


def read_sap(root: Element, asked: Asked) -> Found | None:
    """SAP ADT's exc:exception: an invalid lock handle is a token that is no more, "currently editing" is somebody else."""
    if root.name != "exception" or "sap.com" not in root.namespace:
        return None
    code, message = "", ""
    for item in root.elements():
        if item.name == "type":
            code = text(next((value for name, value in item.attributes if name == "id"), ""))
        elif item.name in {"localizedMessage", "message"}:
            message = words(item.text()) or message
    facts = told(message)
    kind = _SAP_TYPES.get(code.lower(), LockedKind.UNKNOWN)
    if kind is LockedKind.UNKNOWN:
        kind = _HELD if facts.holder else kind_of_words(message)
    locks = (asked.lock(holder=facts.holder, since=facts.since, until=facts.until),) if facts.holder else ()
    return Found(
        service="sap-adt", kind=kind, code=code, message=message, locks=locks, is_certain=kind is not LockedKind.UNKNOWN
    )


def read_words(root: Element, asked: Asked) -> Found | None:
    """Any other XML, by its words."""
    return read_sentence(root.text(), asked, "xml")
