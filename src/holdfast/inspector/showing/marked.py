"""Sentences in HTML: what stands between backticks is code, and everything is escaped. Must not know: any page or report."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from holdfast.inspector.showing.shown import plain

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["words"]

_CODE: Final = re.compile(r"`([^`]+)`")


def words(s: str) -> Markup:
    """Text with its `code` marked; everything else is escaped."""
    from markupsafe import Markup  # late: forms that are not HTML do without it

    parts = enumerate(_CODE.split(plain(s)))
    return Markup("").join(Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in parts)
