"""ARCHITECTURE.md names only modules and names that are there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from tests.docs.conftest import ROOT, blocks

PAGE = ROOT / "ARCHITECTURE.md"
PACKAGE = ROOT / "src" / "holdfast"
PLACES = re.findall(r"^\| (?:where|whether|what|which|how) .* \| (.*) \|$", PAGE.read_text(), re.MULTILINE)


def source(place: Path) -> str:
    files = [place] if place.is_file() else sorted(place.rglob("*.py"))
    return "".join(file.read_text() for file in files)


def test_each_floor_that_is_drawn_is_there():
    drawing = next(block.text for block in blocks(PAGE) if block.heading == "Floors")
    floors = [
        name for line in drawing.splitlines() for name in re.findall(r"[\w/]+(?:/|\.py)", line.partition("  ")[0])
    ]
    assert len(floors) > 10
    assert [name for name in floors if not (PACKAGE / name).exists()] == []


@pytest.mark.parametrize("cell", PLACES)
def test_each_place_to_look_is_there_and_holds_what_is_named(cell):
    named = re.findall(r"`([^`]+)`", cell)
    places = [PACKAGE / name for name in named if "/" in name]
    assert places
    assert [place for place in places if not place.exists()] == []
    text = "".join(source(place) for place in places)
    for name in named:
        if "/" not in name:
            assert re.search(
                rf"\b(def|class) {re.escape(name.rpartition('.')[2])}\b|^{re.escape(name)}\b", text, re.MULTILINE
            ), name


@pytest.mark.parametrize("name", re.findall(r"`([A-Z]\w+)\.(\w+)`", PAGE.read_text()), ids=".".join)
def test_each_method_that_is_named_is_there(name):
    """Such as `LockService.write`."""
    kind, member = name
    files = [path for path in PACKAGE.rglob("*.py") if re.search(rf"^class {kind}\b", path.read_text(), re.MULTILINE)]
    assert files
    modules = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in files]
    assert any(hasattr(getattr(importlib.import_module(module), kind), member) for module in modules)
