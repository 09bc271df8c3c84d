"""The Accept field and the choice it makes (RFC 9110 section 12.5.1).

Owns: reading media ranges with their weights. Must not know: which representations exist. Nothing
here fails: an item that cannot be understood is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

__all__ = ["MAX_ACCEPT_LENGTH", "choose"]

MAX_ACCEPT_LENGTH: Final = 2048
"""Characters of an Accept field that are looked at; what follows is passed over."""

_WORD: Final = r"[!#$%&'*+.^_`|~0-9a-z-]++"
_MEDIA_RANGE: Final = re.compile(rf"[ \t]*({_WORD})/({_WORD})[ \t]*(?:;(.*))?", re.IGNORECASE | re.DOTALL)
# weight = OWS ";" OWS "q=" qvalue. More than three digits are read too; what counts is the number.
_WEIGHT: Final = re.compile(r"[ \t]*q[ \t]*=[ \t]*([01](?:\.[0-9]{0,9})?)[ \t]*", re.IGNORECASE)


def choose(accept: str | None, offered: Sequence[str]) -> str | None:
    """The offered media type (lower case, without parameters) that the field likes best; None if it likes none.

    Among equals one that is named wins over one that a wildcard allows (`application/json, */*`), then
    the earlier offer. An absent field, or one in which nothing can be understood,
    likes everything. Parameters of a media range other than its weight are not compared.
    """
    return _choose(accept[:MAX_ACCEPT_LENGTH] if accept else "", tuple(offered))


@lru_cache(maxsize=512)
def _choose(accept: str, offered: tuple[str, ...]) -> str | None:
    ranges = _media_ranges(accept)
    if not ranges:
        return offered[0] if offered else None
    best: str | None = None
    best_rank = (0.0, 3)
    for media_type in offered:
        rank = _rank(media_type, ranges)
        if rank[0] > 0 and rank > best_rank:
            best, best_rank = media_type, rank
    return best


def _rank(media_type: str, ranges: dict[str, float]) -> tuple[float, int]:
    """The weight of the most specific range that matches, and how specific that is: 2, 1 or 0."""
    kind = media_type.split("/", 1)[0]
    for specific, candidate in ((2, media_type), (1, f"{kind}/*"), (0, "*/*")):
        if candidate in ranges:
            return ranges[candidate], specific
    return 0.0, 0


def _media_ranges(accept: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for item in accept.lower().split(","):
        match = _MEDIA_RANGE.fullmatch(item)
        if match is None or (match[1] == "*" and match[2] != "*"):
            continue
        weight = 1.0
        parameters: str = match[3] or ""
        for parameter in parameters.split(";"):
            weighed = _WEIGHT.fullmatch(parameter)
            if weighed is not None:
                weight = min(float(weighed[1]), 1.0)
                break
        name = f"{match[1]}/{match[2]}"
        found[name] = max(weight, found.get(name, 0.0))
    return found
