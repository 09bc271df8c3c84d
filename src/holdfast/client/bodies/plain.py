"""Plain text in which a server says "locked": OSDU's reason codes, tusd's error codes, and sentences of any other.

Owns: the codes that stand in text. Must not know: JSON, XML, fields.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from holdfast.client.bodies.coded import kind_of_words
from holdfast.client.bodies.found import Asked, Found
from holdfast.client.bodies.prose import read_sentence
from holdfast.client.bodies.values import text, words
from holdfast.client.details import LockedKind

__all__ = ["read_text"]

_MAX_TEXT: Final = 4096
# [RCODE:WL3600]: WL and RL are write and read locked, CL cannot be locked, CU cannot be unlocked; then seconds to live.
_OSDU: Final = re.compile(r"\[RCODE:(?P<code>(?P<what>WL|RL|CL|CU)(?P<ttl>\d{1,9})?)\]", re.ASCII)
_CODE: Final = re.compile(r"\s*(?P<code>[A-Z][A-Z0-9]{1,20}(?:_[A-Z0-9]{1,20}){1,5}):\s", re.ASCII)


def read_text(body: bytes, asked: Asked) -> Found | None:
    """A text as an answer; None where there is none, or where it is no text."""
    sentence = body[:_MAX_TEXT].decode("utf-8", "replace")
    if "\x00" in sentence or not sentence.strip():
        return None
    osdu = _OSDU.search(sentence)
    if osdu is not None:
        left = None if osdu["ttl"] is None else float(osdu["ttl"])
        return Found(
            service="osdu",
            kind=LockedKind.HELD_BY_OTHER,
            code=osdu["code"],
            message=words(_OSDU.sub("", sentence)),
            locks=(asked.lock(remaining=left, scope="shared" if osdu["what"] == "RL" else ""),),
        )
    named = _CODE.match(sentence)
    found = read_sentence(sentence, asked, code="" if named is None else text(named["code"]))
    if found is None:
        return None
    kind = kind_of_words(found.message)
    return found if kind is LockedKind.UNKNOWN else msgspec.structs.replace(found, kind=kind)
