"""The Prefer field (RFC 7240, RFC 8144): wishes are understood where they can be and never refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.wire.prefer import MAX_WAIT_SECONDS, Preferences, Return, parse_prefer, render_prefer


@pytest.mark.parametrize(
    "text, expected",
    [
        (None, Preferences()),
        ("", Preferences()),
        ("respond-async, wait=100, handling=lenient", Preferences(wait=100, respond_async=True)),  # RFC 7240 section 3
        ("respond-async, wait=10", Preferences(wait=10, respond_async=True)),
        ("return=minimal", Preferences(return_=Return.MINIMAL)),
        ("return=representation", Preferences(return_=Return.REPRESENTATION)),
        ('Return="minimal"', Preferences(return_=Return.MINIMAL)),
        ("return = minimal", Preferences(return_=Return.MINIMAL)),
        ("return=minimal, depth-noroot", Preferences(return_=Return.MINIMAL, depth_noroot=True)),  # RFC 8144 appendix B
        ("depth-noroot", Preferences(depth_noroot=True)),
        ("wait=5, wait=9", Preferences(wait=5)),  # RFC 7240 section 2: the first counts
        ('foo; some-parameter="a, return=minimal", wait=3', Preferences(wait=3)),
        ('foo="a\\",b", wait=3', Preferences(wait=3)),
        ("wait=7; x=y ; z", Preferences(wait=7)),
        ('Foo; bar="", wait=1', Preferences(wait=1)),
        ('foo="no end, wait=3', Preferences()),
        ("=, ;;, wait, wait=1", Preferences()),
        ("wait=", Preferences()),
        ("wait=-1, return=everything", Preferences()),
        ("wait=1 2", Preferences()),
        ("wait=" + "9" * 500, Preferences(wait=MAX_WAIT_SECONDS)),
        ("wait=٣", Preferences()),
    ],
)
def test_preferences_are_read(text, expected):
    assert parse_prefer(text) == expected


def test_microsofts_brief_field_means_return_minimal_unless_prefer_says_otherwise():
    assert parse_prefer(None, brief="t").return_ is Return.MINIMAL
    assert parse_prefer(None, brief="f").return_ is None
    assert parse_prefer("return=representation", brief="T").return_ is Return.REPRESENTATION


@given(st.text() | st.from_regex(r'(wait=|[0-9]|,|;|"|\\|return|=|minimal| )*', fullmatch=True))
def test_prefer_survives_any_text(text):
    parse_prefer(text)


def test_prefer_cut_anywhere_is_read():
    whole = 'respond-async, wait=100; a="b\\"c", return=minimal, depth-noroot'
    for end in range(len(whole) + 1):
        assert parse_prefer(whole[:end]).wait in {None, 1, 10, 100}
        assert parse_prefer(whole[:end] + "\x00tail") is not None


@given(
    st.builds(
        Preferences,
        wait=st.none() | st.integers(0, MAX_WAIT_SECONDS),
        return_=st.none() | st.sampled_from(Return),
        depth_noroot=st.booleans(),
        respond_async=st.booleans(),
    )
)
def test_prefer_reads_what_it_writes(preferences):
    assert parse_prefer(render_prefer(preferences)) == preferences
