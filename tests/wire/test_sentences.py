"""Clients' texts in sentences: one line, of a length, and nothing in it that a reader does not see."""

from __future__ import annotations

import pytest

from holdfast.wire.sentences import clean


@pytest.mark.parametrize(
    "text, shown",
    [
        ("Ada", "Ada"),
        (" Ada\r\n\tL. ", "Ada L."),
        ("Ada\x00\x1b[31m\x85L.", "Ada [31m L."),
        ("\u202eadA\u2066", "adA"),
        ("\ufeffA\u200bd\U000e0041a\udc80", "Ada"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d💻", "👩\u200d💻"),
    ],
)
def test_a_name_cannot_break_turn_or_hide_in_the_sentence_around_it(text, shown):
    assert clean(text) == shown


def test_a_long_text_is_cut_and_says_so():
    assert clean("a" * 500, 10) == "aaaaaaaaa…"
