"""The choice that Accept makes (RFC 9110 section 12.5.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.wire.rfc9110 import choose

OFFERED = ("application/xml", "application/problem+json", "text/html")
FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    "accept, expected",
    [
        (None, "application/xml"),
        ("", "application/xml"),
        ("*/*", "application/xml"),
        (FIREFOX, "text/html"),
        ("application/problem+json", "application/problem+json"),
        ("APPLICATION/PROBLEM+JSON", "application/problem+json"),
        ("application/xml;q=0.5, text/html;q=0.8", "text/html"),
        ("application/xml;q=0, */*", "application/problem+json"),
        ("text/*;q=0.3, */*;q=0.2", "text/html"),
        ("text/*, application/xml", "application/xml"),
        ("text/html;charset=utf-8 ; q=0.7, application/*;q=0.7", "text/html"),
        ("application/problem+json, */*", "application/problem+json"),
        ("text/html;q=0.7, application/*;q=0.8", "application/xml"),
        ("image/png", None),
        ("*/*;q=0", None),
        ("text/html;q=0", None),
        ("rubbish", "application/xml"),
        (";;,,=q, */html, text/html;q=2;q=x", "text/html"),
        ("text/html;q=0.0000001, application/xml;q=0.00", "text/html"),
    ],
)
def test_the_best_liked_offer_is_chosen(accept, expected):
    assert choose(accept, OFFERED) == expected


def test_section_12_5_1s_precedence_example_holds():
    accept = "text/*;q=0.3, text/plain;q=0.7, text/plain;format=flowed, text/plain;format=fixed;q=0.4, */*;q=0.5"
    assert choose(accept, ("text/html", "image/jpeg")) == "image/jpeg"
    assert choose(accept, ("text/html", "text/plain", "image/jpeg")) == "text/plain"


@given(st.none() | st.text() | st.from_regex(r"([a-z*]|/|;|,|q=|[0-9.])*", fullmatch=True))
def test_accept_survives_any_text(accept):
    assert choose(accept, OFFERED) in {None, *OFFERED}
    assert choose(accept, ()) is None
