"""Entity tags (RFC 9110 section 8.8.3) and lists of them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.wire.rfc4918 import HeaderError
from holdfast.wire.rfc9110 import ANY, EntityTag, parse_entity_tag, parse_tag_condition, render_tag_condition


@pytest.mark.parametrize(
    "left, right, strongly, weakly",
    [  # the table of section 8.8.3.2
        (EntityTag("1", weak=True), EntityTag("1", weak=True), False, True),
        (EntityTag("1", weak=True), EntityTag("2", weak=True), False, False),
        (EntityTag("1", weak=True), EntityTag("1"), False, True),
        (EntityTag("1"), EntityTag("1"), True, True),
    ],
)
def test_tags_compare_as_in_section_8_8_3_2(left, right, strongly, weakly):
    assert left.matches_strongly(right) is strongly
    assert left.matches_weakly(right) is weakly


@pytest.mark.parametrize(
    "text, expected",
    [
        ('"xyzzy"', EntityTag("xyzzy")),
        ('W/"xyzzy"', EntityTag("xyzzy", weak=True)),
        ('""', EntityTag("")),
        (' "a" ', EntityTag("a")),
        ("bare", EntityTag("bare")),
        ('"a", "b"', None),
        ('"a', None),
        ('w/"a"', None),
        ("", None),
        (None, None),
    ],
)
def test_one_tag_is_read(text, expected):
    assert parse_entity_tag(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ('"xyzzy"', (EntityTag("xyzzy"),)),  # section 13.1.1
        ('"xyzzy", "r2d2xxxx", "c3piozzzz"', (EntityTag("xyzzy"), EntityTag("r2d2xxxx"), EntityTag("c3piozzzz"))),
        ('W/"xyzzy", W/"r2d2xxxx"', (EntityTag("xyzzy", weak=True), EntityTag("r2d2xxxx", weak=True))),
        (', "a,b" ,, "c"', (EntityTag("a,b"), EntityTag("c"))),
        ("*", ANY),
        (" * ", ANY),
        ("5f2a-9", (EntityTag("5f2a-9"),)),
    ],
)
def test_lists_are_read(text, expected):
    assert parse_tag_condition(text) == expected


@pytest.mark.parametrize("text", ["", ",", '"', '"a" "b"', '"a"b', '*, "a"', '"a\x01"', '"a', "a" * 9000])
def test_lists_that_cannot_be_understood_are_refused_not_passed_over(text):
    with pytest.raises(HeaderError):
        parse_tag_condition(text)


@given(st.lists(st.builds(EntityTag, st.from_regex(r"[!#-~]{0,9}", fullmatch=True), st.booleans()), min_size=1))
def test_lists_read_what_they_write(tags):
    assert parse_tag_condition(render_tag_condition(tuple(tags))) == tuple(tags)
    assert parse_tag_condition(render_tag_condition(ANY)) is ANY


@given(st.text() | st.from_regex(r'(W/|"|,|\*|a| )*', fullmatch=True))
def test_lists_survive_any_text(text):
    with contextlib.suppress(HeaderError):
        parse_tag_condition(text)
    parse_entity_tag(text)
