"""What is written about each code, read from `texts/`: one TOML file for a code, and a template for 423, which has more to say.

Owns: the shape of these files, and the two marks in their sentences: `code`, and [423] for a link to that code's page.
Must not know: what the table of statuses says, which stands beside them on a page.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files
from typing import Final

import msgspec
from markupsafe import Markup, escape

__all__ = ["CodeText", "marked", "text_of"]

_TEXTS: Final = files("holdfast.faces.simulator") / "texts"
_MARK: Final = re.compile(r"`([^`]+)`|\[([1-5][0-9]{2})\]")


class CodeText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A code's page. `means` holds paragraphs; the others hold points, one sentence or two each.

    `also` names related codes: of each the number, and when it is the right one instead.
    """

    means: tuple[str, ...]
    senders: tuple[str, ...]
    client: tuple[str, ...]
    caches: tuple[str, ...]
    mistakes: tuple[str, ...] = ()
    also: tuple[tuple[int, str], ...] = ()


@lru_cache(maxsize=128)
def text_of(code: int) -> CodeText | None:
    """What is written about a code; None where nothing is."""
    file = _TEXTS / f"{code}.toml"
    if not file.is_file():
        return None
    return msgspec.toml.decode(file.read_bytes(), type=CodeText)


def marked(text: str) -> Markup:
    """A sentence as HTML, with its marks; everything else in it is escaped."""
    parts: list[Markup] = []
    at = 0
    for mark in _MARK.finditer(text):
        parts.append(escape(text[at : mark.start()]))
        code, number = mark.groups()
        if code is not None:
            parts.append(Markup("<code>{}</code>").format(code))
        else:
            parts.append(Markup('<a href="/simulator/{0}">{0}</a>').format(number))
        at = mark.end()
    parts.append(escape(text[at:]))
    return Markup("").join(parts)
