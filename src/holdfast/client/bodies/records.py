"""Answers in which a record or a document is described together with its lock: FHIR, 4D, Google Drive.

Owns: their shapes. Must not know: errors with a code and a message (see `coded`).
"""

from __future__ import annotations

from typing import Final

from holdfast.client.bodies.found import Asked, Found
from holdfast.client.bodies.prose import is_said_to_be_locked
from holdfast.client.bodies.values import JsonObject, instant, json_list, json_object, member, objects_in, text, words
from holdfast.client.details import LockedKind

__all__ = ["read_4d", "read_drive", "read_fhir"]

_MAX_ISSUES: Final = 50


def read_fhir(value: JsonObject, _asked: Asked) -> Found | None:
    """An OperationOutcome with an issue that is a lock: FHIR's own `lock-error`, or a code that ends in `locked`."""
    if value.get("resourceType") != "OperationOutcome":
        return None
    for issue in [json_object(item) for item in json_list(value.get("issue"))[:_MAX_ISSUES]]:
        codes = [text(item.get("code")) for item in objects_in(issue) if text(item.get("code"))]
        message = words(issue.get("diagnostics")) or words(member(issue, "details", "text"))
        found = next((code for code in codes if code.lower().endswith(("locked", "lock-error"))), "")
        if found or is_said_to_be_locked(message):
            code = next((code for code in codes if code.lower().endswith("locked")), found)
            return Found(service="fhir", kind=LockedKind.HELD_BY_OTHER, code=code, message=message)
    return None


def read_4d(value: JsonObject, asked: Asked) -> Found | None:
    """4D's `{"result": false, "__STATUS": {"lockKind", "lockKindText", "lockInfo"}}`, under a status of 200."""
    status = json_object(value.get("__STATUS"))
    kind = status.get("lockKind")
    if not isinstance(kind, int) or kind <= 0 or value.get("result") is True or status.get("success") is True:
        return None
    info = json_object(status.get("lockInfo"))
    holder = next(
        (name for name in (text(info.get(key)) for key in ("user_name", "user4d_alias", "host_name")) if name), ""
    )
    known = asked.lock(holder=holder, program=text(info.get("task_name")))
    message = words(status.get("lockKindText")) or words(status.get("statusText"))
    code = text(kind)
    return Found(
        service="4d", kind=LockedKind.HELD_BY_OTHER, code=code, message=message, locks=(known,) if info else ()
    )


def read_drive(value: JsonObject, asked: Asked) -> Found | None:
    """Google Drive's contentRestrictions: a flag with a reason that somebody set, not a lease."""
    for item in objects_in(value):
        restrictions = json_list(item.get("contentRestrictions"))[:_MAX_ISSUES]
        for restriction in [json_object(entry) for entry in restrictions]:
            if restriction.get("readOnly") is True:
                known = asked.lock(
                    holder=text(member(restriction, "restrictingUser", "displayName")),
                    since=instant(restriction.get("restrictionTime")),
                    reason=words(restriction.get("reason")),
                    endless=True,
                )
                message = words(restriction.get("reason")) or words(member(value, "error", "message"))
                return Found(service="google-drive", kind=LockedKind.ADMINISTRATIVE, message=message, locks=(known,))
    return None
