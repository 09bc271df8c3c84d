"""Content: the bytes of a simulated body, of which only what is said takes memory.

Owns: filling up, parts, and cutting into pieces. Must not know: what the bytes say, or how they are sent.
"""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["Content"]

_PIECE_BYTES: Final = 64 * 1024
_SPACES: Final = b" " * _PIECE_BYTES


class Content(msgspec.Struct, frozen=True):
    """`text`, and behind it `padding` spaces, which mean nothing in any of the forms."""

    text: bytes
    padding: int = 0

    @property
    def length(self) -> int:
        """Bytes in all."""
        return len(self.text) + self.padding

    def filled(self, size: int) -> Content:
        """At least `size` bytes long."""
        return Content(self.text, max(self.padding, size - len(self.text)))

    def part(self, offset: int, length: int) -> Content:
        """`length` bytes from `offset`, which lie within it."""
        text = self.text[offset : offset + length]
        return Content(text, length - len(text))

    def pieces(self, at_least: int = 1) -> list[bytes]:
        """All of it in order, in `at_least` so many pieces where it has the bytes for that."""
        size = max(1, min(_PIECE_BYTES, self.length // max(1, at_least)))
        found = [self.text[start : start + size] for start in range(0, len(self.text), size)]
        full, rest = divmod(self.padding, size)
        found += [_SPACES[:size]] * full
        return [*found, _SPACES[:rest]] if rest else found
