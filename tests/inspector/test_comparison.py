"""docs/inspector-and-httplint.md is what its script writes, and what it claims is so."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import pytest

from tests.inspector.examples import ROOT


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("comparison_page", ROOT / "docs" / "comparison.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(script):
    """Where this fails, `.venv/bin/python docs/comparison.py` writes it anew. Another httplint may say other things."""
    written, wanted = script.PAGE.read_text(encoding="utf-8"), script.page()
    named = re.compile(r"httplint ([0-9.]+);")
    if named.findall(written) == named.findall(wanted):
        assert written == wanted
    else:
        assert ours(written) == ours(wanted)


def ours(page):
    """The column that does not depend on httplint."""
    return [line.rsplit("|", 2)[1] for line in page.split("\n") if line.startswith("|")]


def test_httplint_finds_no_fault_where_it_is_said_to_miss_it(script):
    """It may remark on an exchange; but what the rule finds, it at most takes for less."""
    order = ["bad", "warn", "info", "good"]
    for spot in script.MISSED:
        by_rule = [note for note in script.said_by_holdfast(spot) if note.rule == spot.rule]
        theirs = [note for note in script.said_by_httplint(spot) if note.level in {"bad", "warn"}]
        assert by_rule, spot
        assert all(order.index(note.level) > order.index(by_rule[0].level) for note in theirs), spot


def test_what_it_finds_fault_with_is_right_or_nearly_so(script):
    for spot in script.ACCUSED:
        assert [note for note in script.said_by_httplint(spot) if note.level in {"bad", "warn"}], spot
        assert not [note for note in script.said_by_holdfast(spot) if note.level in {"bad", "warn"}], spot
