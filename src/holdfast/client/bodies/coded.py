"""Errors as JSON with a code and a message, in the places where services put them.

Owns: the table of codes that mean a lock, where codes, messages and descriptions of a lock are looked for, and the
words by which an administrative lock is known. Must not know: the families that have a module of their own.
"""

from __future__ import annotations

import re
from typing import Final, cast

from holdfast.client.bodies.found import Asked, Found
from holdfast.client.bodies.prose import Told, is_said_to_be_locked, told
from holdfast.client.bodies.values import JsonObject, instant, json_list, json_object, seconds, text, words
from holdfast.client.details import KnownLock, LockedKind

__all__ = ["CODES", "kind_of_words", "lock_described", "read_coded"]

_HELD, _BAD, _RULE = LockedKind.HELD_BY_OTHER, LockedKind.BAD_TOKEN, LockedKind.ADMINISTRATIVE

CODES: Final = {
    # Box
    "access_denied_item_locked": ("box", _HELD),
    "item_locked": ("box", _HELD),
    # Autodesk Construction Cloud: JSON:API, the title says what is the matter
    "reservation_lineage_reserved": ("autodesk", _HELD),
    # DocuSign
    "edit_lock_not_lock_owner": ("docusign", _HELD),
    "edit_lock_envelope_already_locked": ("docusign", _HELD),
    "edit_lock_invalid_lock_token": ("docusign", _BAD),
    # Ably Spaces
    "101003": ("ably", _HELD),
    # Azure Resource Manager: a management lock
    "scopelocked": ("azure", _RULE),
    # Whatever speaks plainly
    "locked": ("json", _HELD),
    "resource_locked": ("json", _HELD),
    "resourcelocked": ("json", _HELD),
    "resource_lock": ("json", _HELD),
    "file_locked": ("json", _HELD),
    "lock_conflict": ("json", _HELD),
    "already_locked": ("json", _HELD),
    "lock_mismatch": ("json", _BAD),
    "invalid_lock_token": ("json", _BAD),
}
"""What a code means, in lower case: the service whose it is, and why it refuses."""

_ENVELOPES: Final = ("error", "errors", "detail", "data", "fault")
_CODE_MEMBERS: Final = ("errorCode", "error_code", "code", "title", "reason", "type", "error", "category")
_MESSAGE_MEMBERS: Final = (
    "message",
    "detail",
    "error_description",
    "description",
    "msg",
    "title",
    "error",
    "errors",
    "data",
)
_MAX_ENVELOPES: Final = 20

_RULE_WORDS: Final = re.compile(
    r"\barchived\b|\blocked for migration\b|\bunavailable shop\b|\bshop is unavailable\b|\blegal hold\b|\bbilling\b"
    r"|\b(?:account|store|shop|site|subscription) (?:is|has been|was) (?:locked|suspended|frozen|closed)\b",
    re.IGNORECASE,
)
_BAD_TOKEN_WORDS: Final = re.compile(
    r"\b(?:invalid|wrong|expired|unknown) lock (?:handle|token|id)\b"
    r"|\block (?:handle|token|id)\b.{0,60}\b(?:does not|doesn't|not match|invalid|mismatch|expired|unknown)",
    re.IGNORECASE,
)

# Members that describe a lock, without their separators and in lower case. Plain names count inside a lock alone.
_LOCKS: Final = ("lock", "lockinfo", "currentlock", "activelock", "lockdetails", "editlock")
_HOLDER: Final = ("lockedby", "lockedbyuser", "lockedbyusername", "lockholder", "lockowner", "holder", "heldby")
_SINCE: Final = ("lockedat", "lockedsince", "lockedon", "locktime", "lockcreatedat", "locktimestamp")
_UNTIL: Final = ("lockeduntil", "lockeduntildatetime", "lockexpiresat", "lockexpiry", "lockexpiration", "lockexpires")
_HOLDER_INSIDE: Final = (*_HOLDER, "owner", "createdby", "user", "username", "who", "by", "name")
_SINCE_INSIDE: Final = (*_SINCE, "createdat", "created", "since", "createddatetime", "acquiredat")
_UNTIL_INSIDE: Final = (*_UNTIL, "expiresat", "expires", "until", "expirationdatetime", "expiry", "expiration")
_NAMES: Final = ("displayname", "name", "username", "fullname", "email", "login", "id")


def read_coded(value: JsonObject, asked: Asked) -> Found | None:
    """Any JSON error: by its code, by what it tells of the lock, or by its words."""
    places = _places(value)
    codes = [text(place.get(name)) for place in places for name in _CODE_MEMBERS if text(place.get(name))]
    code = next((code for code in codes if code.lower() in CODES), "")
    message = _message(value, places)
    service, kind = CODES.get(code.lower(), ("json", LockedKind.UNKNOWN))
    facts = told(message)
    lock = next((found for found in (lock_described(place, asked) for place in places) if found is not None), None)
    if lock is None and facts != Told():
        lock = asked.lock(holder=facts.holder, since=facts.since, until=facts.until)
    certain = bool(code) or is_said_to_be_locked(message)
    if not message and not codes and lock is None:
        return None
    if kind is LockedKind.UNKNOWN:
        kind = kind_of_words(message)
    if kind is LockedKind.ADMINISTRATIVE and "x-github-request-id" in asked.headers:
        service = "github"
    if kind is LockedKind.UNKNOWN and (certain or lock is not None):
        kind = LockedKind.HELD_BY_OTHER
    return Found(
        service=service,
        kind=kind,
        code=code or _plain_code(codes, message),
        message=message,
        locks=() if lock is None else (lock,),
        is_certain=certain or kind is LockedKind.ADMINISTRATIVE,
    )


def kind_of_words(message: str) -> LockedKind:
    """A rule or a bad token where the words say so; UNKNOWN otherwise."""
    if _RULE_WORDS.search(message):
        return LockedKind.ADMINISTRATIVE
    return LockedKind.BAD_TOKEN if _BAD_TOKEN_WORDS.search(message) else LockedKind.UNKNOWN


def lock_described(value: JsonObject, asked: Asked) -> KnownLock | None:
    """What members of any spelling tell of a lock: `lockedByUser`, `lock.expires_at`, `locked_until`; None for nothing."""
    plain = _plain(value)
    lock = _known(plain, asked, _HOLDER, _SINCE, _UNTIL)
    if lock is not None:
        return lock
    for name in _LOCKS:
        inner = json_object(plain.get(name))
        if inner:
            found = _known(_plain(inner), asked, _HOLDER_INSIDE, _SINCE_INSIDE, _UNTIL_INSIDE)
            if found is not None:
                return found
    return None


def _known(
    plain: JsonObject, asked: Asked, holders: tuple[str, ...], sinces: tuple[str, ...], untils: tuple[str, ...]
) -> KnownLock | None:
    holder = next((name for name in (_person(plain.get(key)) for key in holders) if name), "")
    since = next((at for at in (instant(plain.get(key)) for key in sinces) if at is not None), None)
    until = next((at for at in (instant(plain.get(key)) for key in untils) if at is not None), None)
    remaining = seconds(plain.get("expiresin"))
    if not holder and since is None and until is None:
        return None
    return asked.lock(holder=holder, since=since, until=until, remaining=remaining, reason=words(plain.get("reason")))


def _person(value: object) -> str:
    if isinstance(value, str):
        return text(value)
    plain = _plain(json_object(value))
    if isinstance(plain.get("user"), dict):
        plain = _plain(json_object(plain.get("user")))
    return next((name for name in (text(plain.get(key)) for key in _NAMES) if name), "")


def _plain(value: JsonObject) -> JsonObject:
    return {name.lower().replace("_", "").replace("-", ""): item for name, item in value.items()}


def _places(value: JsonObject) -> list[JsonObject]:
    """The error and what may wrap it, the innermost first."""
    places: list[JsonObject] = [value]
    for name in _ENVELOPES:
        inner = value.get(name)
        found = [json_object(item) for item in (inner, *json_list(inner)[:_MAX_ENVELOPES])]
        places.extend(item for item in found if item)
    return places[::-1]


def _message(value: JsonObject, places: list[JsonObject]) -> str:
    for place in places:
        for name in _MESSAGE_MEMBERS:
            said = place.get(name)
            if isinstance(said, list):
                said = next(
                    (item for item in json_list(cast("object", said))[:_MAX_ENVELOPES] if isinstance(item, str)), None
                )
            if isinstance(said, str) and said.strip():
                return words(said)
    return words(value.get("statusText"))


def _plain_code(codes: list[str], message: str) -> str:
    """A code that is not in the table: short, without white space, and not the message itself."""
    return next((code for code in codes if code != message and len(code) <= 80 and " " not in code), "")
