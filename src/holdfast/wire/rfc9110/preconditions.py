"""Preconditions of a request, text -> values, and the one function that evaluates them (RFC 9110 section 13).

Owns: If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, If-Range, and their order. Must
not know: files, locks. WebDAV's If header is apart from these (RFC 4918 section 10.4).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

import msgspec

from holdfast.wire.exchange import Headers
from holdfast.wire.rfc9110.dates import parse_http_date
from holdfast.wire.rfc9110.etags import AnyTag, EntityTag, TagCondition, parse_entity_tag, parse_tag_condition

__all__ = ["Preconditions", "evaluate_preconditions", "parse_preconditions", "range_applies"]


class Preconditions(msgspec.Struct, frozen=True):
    """The preconditions of one request; None where the field is absent, or is a date that cannot be read."""

    if_match: TagCondition | None = None
    if_none_match: TagCondition | None = None
    if_modified_since: datetime | None = None
    if_unmodified_since: datetime | None = None


_NONE: Final = Preconditions()
_READS: Final = frozenset({"GET", "HEAD"})


def parse_preconditions(headers: Headers) -> Preconditions:
    """Read the four fields. Raises HeaderError for a list of entity tags that cannot be understood.

    A date that cannot be read is ignored, as sections 13.1.3 and 13.1.4 require.
    """
    match = headers.get(b"if-match")
    none_match = headers.get(b"if-none-match")
    modified = headers.get(b"if-modified-since")
    unmodified = headers.get(b"if-unmodified-since")
    if match is None and none_match is None and modified is None and unmodified is None:
        return _NONE
    return Preconditions(
        None if match is None else parse_tag_condition(match),
        None if none_match is None else parse_tag_condition(none_match),
        parse_http_date(modified),
        parse_http_date(unmodified),
    )


def evaluate_preconditions(
    method: str,
    conditions: Preconditions,
    *,
    current: EntityTag | None,
    modified_at: datetime | None,
    exists: bool,
) -> Literal[304, 412] | None:
    """Evaluate in the order of section 13.2.2; None means: go on.

    `current` and `modified_at` are the resource's validators, None where it has none; `exists` is
    whether it has a current representation at all.
    """
    if conditions is _NONE:
        return None
    reads = method in _READS
    if conditions.if_match is not None:
        if not _is_among(conditions.if_match, current, exists=exists, strongly=True):
            return 412
    elif _is_later(modified_at, conditions.if_unmodified_since):
        return 412
    if conditions.if_none_match is not None:
        if _is_among(conditions.if_none_match, current, exists=exists, strongly=False):
            return 304 if reads else 412
    elif (
        reads
        and conditions.if_modified_since is not None
        and modified_at is not None
        and not _is_later(modified_at, conditions.if_modified_since)
    ):
        return 304
    return None


def range_applies(if_range: str | None, *, current: EntityTag | None, modified_at: datetime | None) -> bool:
    """Whether a Range field counts, given If-Range (section 13.1.5): without If-Range, or where it holds.

    A tag is compared strongly, a date exactly; a value that is neither never holds, so all is sent.
    """
    if if_range is None:
        return True
    date = parse_http_date(if_range)
    if date is not None:
        return modified_at is not None and modified_at.replace(microsecond=0) == date
    tag = parse_entity_tag(if_range)
    return tag is not None and current is not None and tag.matches_strongly(current)


def _is_among(condition: TagCondition, current: EntityTag | None, *, exists: bool, strongly: bool) -> bool:
    if isinstance(condition, AnyTag):
        return exists
    if not exists or current is None:
        return False
    if strongly:
        return any(tag.matches_strongly(current) for tag in condition)
    return any(tag.matches_weakly(current) for tag in condition)


def _is_later(modified_at: datetime | None, than: datetime | None) -> bool:
    """Later by whole seconds, all that the field can say; False where either is unknown."""
    return modified_at is not None and than is not None and modified_at.replace(microsecond=0) > than
