"""The test for reserved names folds as file systems do."""

from __future__ import annotations

import pytest

from holdfast.files.names import hidden_name, is_reserved, is_reserved_name, servable_names


@pytest.mark.parametrize(
    "name",
    [".holdfast", ".HoldFast", ".\u200choldfast", ".holdfa\u017ft", ".holdfast\ufe0f", hidden_name()],
    ids=["plain", "case", "zero-width", "long-s", "variation", "hidden"],
)
def test_spellings_of_a_reserved_name_are_reserved(name):
    assert is_reserved_name(name)
    assert is_reserved("/" + name)
    assert is_reserved(f"/a/{name}/b")


@pytest.mark.parametrize("name", ["holdfast", ".holdfast2", ".holdfast-1", "a.holdfast", ".holdfást", "", "é"])
def test_other_names_are_not(name):
    assert not is_reserved_name(name)
    assert not is_reserved(f"/a/{name}")


def test_a_hidden_name_is_new_each_time():
    assert len({hidden_name() for _ in range(100)}) == 100


def test_servable_names_are_sorted_and_speakable():
    assert servable_names(["b", ".holdfast", "a", "\udcff", "x\ny"]) == ["a", "b"]
