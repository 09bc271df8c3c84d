"""The dashboard's files, read once: its pages by their addresses, and what they load.

Owns: which address shows which file, content types, entity tags. Must not know: who is asking. The files say nothing
of this server: they read `/api` for that, so everybody may have them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from holdfast.wire.staticfiles import STATIC_TYPES, StaticFile, read_static

__all__ = ["ADDRESSES", "Pages"]

_ASSETS: Final = Path(__file__).parent / "assets"

_PAGES: Final = {"/": "index.html", "/history": "history.html", "/login": "login.html"}
_LOCK_PAGE: Final = "lock.html"
_LOCK: Final = re.compile("/locks/[A-Za-z0-9_-]{1,64}")
_ASSET: Final = "/assets/"

ADDRESSES: Final = ("/history", "/locks", "/login", "/logout", "/assets")
"""Where the dashboard is mounted, beside `/` itself."""


class Pages:
    """The files of the installed package, in memory."""

    def __init__(self) -> None:
        """Read them all: some ten kilobytes each."""
        found = {path.name: read_static(path) for path in sorted(_ASSETS.iterdir()) if path.suffix in STATIC_TYPES}
        self._pages = {address: found[name] for address, name in _PAGES.items()}
        self._lock_page = found[_LOCK_PAGE]
        self._assets = {_ASSET + name: file for name, file in found.items() if not name.endswith(".html")}

    def page(self, target: str) -> StaticFile | None:
        """The page at a raw path; None where there is none."""
        return self._lock_page if _LOCK.fullmatch(target) else self._pages.get(target)

    def asset(self, target: str) -> StaticFile | None:
        """What pages load, at a raw path; None where there is none."""
        return self._assets.get(target)
