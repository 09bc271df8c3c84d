"""What the pages load, read once: the simulator's own assets, and those that give every page of Holdfast its look.

Owns: names, content types and entity tags. Must not know: who asks, or what is on a page.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec

from holdfast.wire.rfc9110 import EntityTag
from holdfast.wire.webpages import HTML_CONTENT_TYPE

__all__ = ["StaticFile", "page_file", "read_assets"]

_FACES: Final = Path(__file__).parents[2]
_OWN: Final = _FACES / "simulator" / "assets"
_LOOK: Final = _FACES / "dashboard" / "assets"

# One look for all pages: these are the dashboard's own files. They are served from here too, since the simulator also
# runs without a dashboard; no code of its face is touched.
_SHARED: Final = ("copying.js", "dom.js", "icon.svg", "look.css", "page.js", "parts.css", "theme.js")

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class StaticFile(msgspec.Struct, frozen=True):
    """A file's bytes with their type and entity tag."""

    body: bytes
    content_type: str
    etag: EntityTag


def read_assets() -> dict[str, StaticFile]:
    """All that pages load, by name: some ten kilobytes each."""
    paths = [*sorted(_OWN.iterdir()), *(_LOOK / name for name in _SHARED)]
    return {path.name: _file(path.read_bytes(), _TYPES[path.suffix]) for path in paths if path.suffix in _TYPES}


def page_file(text: str) -> StaticFile:
    """A page that was made here."""
    return _file(text.encode(), HTML_CONTENT_TYPE)


def _file(body: bytes, content_type: str) -> StaticFile:
    return StaticFile(body, content_type, EntityTag(blake2b(body, digest_size=12).hexdigest()))
