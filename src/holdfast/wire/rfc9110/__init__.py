"""HTTP semantics (RFC 9110), text <-> values: dates, entity tags, preconditions, ranges, Accept.

One module per topic; this page gathers their public names. None of them knows a resource, a lock or
a clock.
"""

from __future__ import annotations

from holdfast.wire.rfc9110.accept import choose
from holdfast.wire.rfc9110.dates import http_date, parse_http_date, render_http_date
from holdfast.wire.rfc9110.etags import (
    ANY,
    AnyTag,
    EntityTag,
    TagCondition,
    parse_entity_tag,
    parse_tag_condition,
    render_tag_condition,
)
from holdfast.wire.rfc9110.preconditions import (
    Preconditions,
    evaluate_preconditions,
    parse_preconditions,
    range_applies,
)
from holdfast.wire.rfc9110.ranges import (
    UNSATISFIABLE,
    ByteRange,
    RangeRequest,
    Unsatisfiable,
    parse_range,
    render_content_range,
)

__all__ = [
    "ANY",
    "UNSATISFIABLE",
    "AnyTag",
    "ByteRange",
    "EntityTag",
    "Preconditions",
    "RangeRequest",
    "TagCondition",
    "Unsatisfiable",
    "choose",
    "evaluate_preconditions",
    "http_date",
    "parse_entity_tag",
    "parse_http_date",
    "parse_preconditions",
    "parse_range",
    "parse_tag_condition",
    "range_applies",
    "render_content_range",
    "render_http_date",
    "render_tag_condition",
]
