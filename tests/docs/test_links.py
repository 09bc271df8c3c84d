"""Every link between our pages leads somewhere, and every page can be found."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.conftest import ROOT, pages

LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?\)")
PICTURES = sorted((ROOT / "docs").rglob("*.png"))


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    """The targets of the links in a page that lead to a file."""
    found = [urlsplit(target) for target in LINK.findall(prose(page))]
    return [unquote(target.path) for target in found if not target.scheme and target.path]


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_each_relative_link_and_picture_exists(page):
    missing = [target for target in links(page) if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_into_a_page_finds_its_heading(page):
    for target in LINK.findall(prose(page)):
        parts = urlsplit(target)
        if not parts.scheme and parts.fragment:
            other = page.parent / unquote(parts.path) if parts.path else page
            assert parts.fragment in anchors(other), target


def test_each_page_in_docs_is_linked_from_the_list_of_documents():
    """A record of a decision is linked from the list of decisions, which is linked from the list of documents."""
    for folder in (ROOT / "docs", ROOT / "docs" / "decisions"):
        listed = {(folder / target).resolve() for target in links(folder / "README.md")}
        assert {path for path in folder.glob("*.md") if path.name != "README.md"} <= listed
    assert ROOT / "docs" / "decisions" / "README.md" in {
        (ROOT / "docs" / t).resolve() for t in links(ROOT / "docs" / "README.md")
    }


def test_the_readme_has_both_pictures():
    assert {"docs/images/listing.png", "docs/images/locked.png"} <= set(links(ROOT / "README.md"))


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_each_picture_is_a_small_png(picture):
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(content) < 200_000
    width, height = struct.unpack(">II", content[16:24])
    assert width >= 1000
    assert height >= 600
