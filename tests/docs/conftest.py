"""The documents as tests read them: where they are, and the blocks of code in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the text in it, and the heading that it stands under."""

    language: str
    text: str
    heading: str


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page, in order."""
    found: list[Block] = []
    heading = ""
    for match in re.finditer(r"^## ([^\n]*)$|^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        if match[1] is not None:
            heading = match[1]
        else:
            found.append(Block(match[2], match[3], heading))
    return found


def pages() -> list[Path]:
    """Every Markdown page of the project."""
    kept = list(ROOT.glob("*.md"))
    for folder in ("docs", "benchmarks", "src", "tests"):
        kept += (ROOT / folder).rglob("*.md")
    return sorted(kept)
