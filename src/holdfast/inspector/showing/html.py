"""Reports as one page that needs nothing else: no script, no font, no picture, no other host.

Owns: the template, its style, and the policy that lets a browser load nothing but that style. Everything that a server said is text in it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.inspector.showing.marked import words
from holdfast.inspector.showing.shown import Shown, counted, heading, plain

if TYPE_CHECKING:
    import jinja2

__all__ = ["as_html"]

_FOLDER: Final = Path(__file__).parent


def as_html(shown: Sequence[Shown]) -> str:
    """The page."""
    template, style, policy = _prepared()
    title = heading(shown[0]) if len(shown) == 1 else f"{len(shown)} responses"
    return template.render(
        shown=shown, title=f"{title} · Holdfast inspector", style=style, policy=policy, heading=heading, counted=counted
    )


@lru_cache(maxsize=1)
def _prepared() -> tuple[jinja2.Template, str, str]:
    """The template, its style, and the policy that names the style by its digest."""
    import jinja2  # late: the other forms do without it

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["plain"] = plain
    environment.filters["words"] = words
    environment.tests["web"] = _is_web
    style = (_FOLDER / "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return environment.get_template("report.html"), style, policy


def _is_web(value: str) -> bool:
    """True for a link that a page may lead to: no script is one."""
    return value.startswith(("https://", "http://"))
