"""Preconditions and their order (RFC 9110 section 13)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from holdfast.wire.exchange import Headers
from holdfast.wire.rfc4918 import HeaderError
from holdfast.wire.rfc9110 import (
    EntityTag,
    evaluate_preconditions,
    parse_preconditions,
    range_applies,
    render_http_date,
)

CURRENT = EntityTag("v2")
MODIFIED = datetime(2026, 11, 21, 10, 2, 0, 400_000, tzinfo=UTC)
SAME = render_http_date(MODIFIED)
EARLIER = render_http_date(MODIFIED - timedelta(seconds=1))
LATER = render_http_date(MODIFIED + timedelta(seconds=1))


def evaluate(method, fields, *, exists=True, current=CURRENT, modified_at=MODIFIED):
    headers = Headers([(name.encode(), value.encode()) for name, value in fields.items()])
    return evaluate_preconditions(
        method, parse_preconditions(headers), current=current if exists else None, modified_at=modified_at if exists else None, exists=exists
    )  # fmt: skip


@pytest.mark.parametrize(
    "method, fields, exists, expected",
    [
        ("PUT", {}, True, None),
        # section 13.1.1 If-Match
        ("PUT", {"if-match": '"v2"'}, True, None),
        ("PUT", {"if-match": '"v1", "v2"'}, True, None),
        ("PUT", {"if-match": '"v1"'}, True, 412),
        ("PUT", {"if-match": 'W/"v2"'}, True, 412),
        ("PUT", {"if-match": "*"}, True, None),
        ("PUT", {"if-match": "*"}, False, 412),
        ("PUT", {"if-match": '"v2"'}, False, 412),
        ("GET", {"if-match": '"v1"'}, True, 412),
        # section 13.1.2 If-None-Match
        ("PUT", {"if-none-match": "*"}, True, 412),
        ("PUT", {"if-none-match": "*"}, False, None),
        ("PUT", {"if-none-match": '"v1"'}, True, None),
        ("PUT", {"if-none-match": 'W/"v2"'}, True, 412),
        ("LOCK", {"if-none-match": "*"}, True, 412),
        ("GET", {"if-none-match": '"v2"'}, True, 304),
        ("HEAD", {"if-none-match": 'W/"v2"'}, True, 304),
        ("GET", {"if-none-match": '"v1"'}, True, None),
        ("GET", {"if-none-match": "*"}, True, 304),
        # section 13.1.3 If-Modified-Since
        ("GET", {"if-modified-since": SAME}, True, 304),
        ("GET", {"if-modified-since": LATER}, True, 304),
        ("GET", {"if-modified-since": EARLIER}, True, None),
        ("GET", {"if-modified-since": "rubbish"}, True, None),
        ("PUT", {"if-modified-since": SAME}, True, None),
        ("GET", {"if-modified-since": SAME}, False, None),
        # section 13.1.4 If-Unmodified-Since
        ("PUT", {"if-unmodified-since": SAME}, True, None),
        ("PUT", {"if-unmodified-since": EARLIER}, True, 412),
        ("GET", {"if-unmodified-since": EARLIER}, True, 412),
        ("PUT", {"if-unmodified-since": "rubbish"}, True, None),
        ("PUT", {"if-unmodified-since": EARLIER}, False, None),
        # section 13.2.2: tags before dates, If-Match before If-None-Match
        ("PUT", {"if-match": '"v2"', "if-unmodified-since": EARLIER}, True, None),
        ("GET", {"if-none-match": '"v1"', "if-modified-since": SAME}, True, None),
        ("GET", {"if-none-match": '"v2"', "if-modified-since": EARLIER}, True, 304),
        ("GET", {"if-match": '"v1"', "if-none-match": '"v2"'}, True, 412),
        ("GET", {"if-match": '"v2"', "if-none-match": '"v2"'}, True, 304),
    ],
)
def test_preconditions_hold_or_fail_as_section_13_2_2_orders(method, fields, exists, expected):
    assert evaluate(method, fields, exists=exists) == expected


def test_a_resource_without_validators_matches_no_tag_and_ignores_dates():
    assert evaluate("PUT", {"if-match": '"v2"'}, current=None, modified_at=None) == 412
    assert evaluate("GET", {"if-modified-since": SAME}, current=None, modified_at=None) is None
    assert evaluate("GET", {"if-none-match": '"v2"'}, current=None, modified_at=None) is None


def test_a_list_of_tags_that_cannot_be_understood_is_refused():
    with pytest.raises(HeaderError):
        evaluate("PUT", {"if-match": '"'})


@pytest.mark.parametrize(
    "if_range, expected",
    [(None, True), ('"v2"', True), ('"v1"', False), ('W/"v2"', False), (SAME, True), (EARLIER, False), (LATER, False),
     ("", False), ("rubbish,", False)],
)  # fmt: skip
def test_if_range_holds_only_for_the_very_same_representation(if_range, expected):
    assert range_applies(if_range, current=CURRENT, modified_at=MODIFIED) is expected
