"""What the pages load, read once: the simulator's own assets, and those that give every page of Holdfast its look.

Owns: their names, and where they lie. Must not know: who asks, or what is on a page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from holdfast.wire.staticfiles import STATIC_TYPES, StaticFile, read_static, static_file
from holdfast.wire.webpages import HTML_CONTENT_TYPE

__all__ = ["page_file", "read_assets"]

_FACES: Final = Path(__file__).parents[2]
_OWN: Final = _FACES / "simulator" / "assets"
_LOOK: Final = _FACES / "dashboard" / "assets"

# One look for all pages: these are the dashboard's own files. They are served from here too, since the simulator also
# runs without a dashboard; no code of its face is touched.
_SHARED: Final = ("copying.js", "dom.js", "icon.svg", "look.css", "page.js", "parts.css", "theme.js")


def read_assets() -> dict[str, StaticFile]:
    """All that pages load, by name: some ten kilobytes each."""
    paths = [*sorted(_OWN.iterdir()), *(_LOOK / name for name in _SHARED)]
    return {path.name: read_static(path) for path in paths if path.suffix in STATIC_TYPES}


def page_file(text: str) -> StaticFile:
    """A page that was made here."""
    return static_file(text.encode(), HTML_CONTENT_TYPE)
