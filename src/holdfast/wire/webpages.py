"""The pages that people see: a 423, any other refusal, a collection's members, and what `locked` means.

Owns: the templates in `pages/`, and the policy that lets a browser run nothing but their own style and
script. Must not know: locks or files; it is handed plain texts, and escapes them all. The pages name no
other host and work without the script, which only counts down and shows instants in local time.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import quote

import jinja2
import msgspec

__all__ = [
    "HTML_CONTENT_TYPE",
    "PAGE_POLICY",
    "ListingEntry",
    "LockedPageLock",
    "render_listing",
    "render_locked_page",
    "render_problem_page",
    "render_refusal_page",
]

HTML_CONTENT_TYPE: Final = "text/html; charset=utf-8"

_HELP: Final = "/problems/locked"
"""Where a whole Holdfast server explains a 423."""

_PAGES: Final = Path(__file__).parent / "pages"
_STYLE: Final = (_PAGES / "page.css").read_text(encoding="utf-8")
_SCRIPT: Final = (_PAGES / "page.js").read_text(encoding="utf-8")


def _source(text: str) -> str:
    """A hash source of Content Security Policy level 3: only this very text may apply."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


PAGE_POLICY: Final = (
    f"default-src 'none'; style-src {_source(_STYLE)}; script-src {_source(_SCRIPT)}; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy that goes with every page."""


class LockedPageLock(msgspec.Struct, frozen=True, kw_only=True):
    """One lock as the locked page shows it; empty texts are left out.

    `edits` is true where a program has a document open, `renewable` where the end may move; the `..._iso` are in UTC;
    `seconds_left` is None without end. `page_href` is the address of the lock's own page, empty where it has none.
    """

    page_href: str
    holder: str
    owner: str
    program: str
    root: str
    shared: bool
    whole_tree: bool
    edits: bool
    renewable: bool
    reason: str
    since_text: str
    since_iso: str
    until_text: str
    until_iso: str
    seconds_left: int | None
    queue_length: int


class ListingEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One member of a collection. `href` is percent-encoded, `size` in bytes, `modified_text` for people.

    `locked_by` is the holder of the lock on it, empty where it is free; `locked_more` counts the others that
    share it. The `..._iso` are in UTC, for the script that shows them in local time.
    """

    name: str
    href: str
    is_collection: bool
    size: int = 0
    modified_text: str = ""
    modified_iso: str = ""
    locked_by: str = ""
    lock_id: str = ""
    locked_more: int = 0
    locked_until_text: str = ""
    locked_until_iso: str = ""


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PAGES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["size"] = _size_text
    return environment


def render_locked_page(
    resource: str,
    detail: str,
    locks: Sequence[LockedPageLock],
    *,
    more: int = 0,
    retry_after: int = 1,
    refused_lock: bool = False,
    line_sentence: str = "",
    help_href: str = _HELP,
) -> bytes:
    """The page of a 423. `resource` is the path as people read it, `more` the locks that are not shown.

    `line_sentence` is how the waiting line stands; without locks it is all there is to say. `help_href` leads to what a
    423 means; empty where nothing explains it.
    """
    return _render(
        "locked.html",
        resource=resource,
        href=_href(resource),
        name=_name(resource),
        detail=detail,
        locks=locks,
        more=more,
        retry_after=retry_after,
        refused_lock=refused_lock,
        line_sentence=line_sentence,
        help_href=help_href,
    )


def render_refusal_page(status: int, title: str, detail: str) -> bytes:
    """The page of any other refusal."""
    return _render("refusal.html", status=status, title=title, detail=detail, help_href=_HELP)


def render_listing(path: str, entries: Sequence[ListingEntry], *, top: str = "/") -> bytes:
    """The page of a collection at `path` (decoded), its members in the order given.

    `top` is the highest collection that the trail of links at the head may lead to.
    """
    return _render("listing.html", path=path, name=_name(path), trail=_trail(path, top), entries=entries)


@lru_cache(maxsize=2)
def render_problem_page(*, is_server: bool = True) -> bytes:
    """The page behind `/problems/locked`: what a 423 means, for people and for authors of clients.

    Where it is no Holdfast server that shows it, it leads to none of a server's own pages.
    """
    return _render("problem_locked.html", is_server=is_server)


def _render(template: str, **values: object) -> bytes:
    # Lone surrogates cannot be sent; a name on disk that is not UTF-8 shows as question marks.
    return (
        _environment().get_template(template).render(style=_STYLE, script=_SCRIPT, **values).encode("utf-8", "replace")
    )


def _href(path: str) -> str:
    return quote(path, safe="/-._~!$&'()*+,;=:@", errors="replace")


def _name(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1] or "/"


def _trail(path: str, top: str) -> list[tuple[str, str]]:
    """(name, href) of each collection from `top` down to `path`, the last one being `path` itself."""
    texts = [top.rstrip("/") + "/"]
    for segment in path.removeprefix(top.rstrip("/")).strip("/").split("/"):
        if segment:
            texts.append(f"{texts[-1]}{segment}/")
    return [(_name(text), _href(text)) for text in texts]


def _size_text(size: int) -> str:
    """A size for people: three digits at most, in powers of 1,000."""
    if size < 1000:
        return f"{size} B"
    amount = float(size)
    for unit in ("kB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 999.5:
            return f"{amount:.1f} {unit}" if amount < 9.95 else f"{amount:.0f} {unit}"
    return f"{amount / 1000:.1f} PB"
