"""Reading a stream of Server-Sent Events: pieces of bytes -> the kinds of the events in them.

Owns: the line format (WHATWG HTML section 9.2.6), within bounds. Must not know: what is listened to.
"""

from __future__ import annotations

from typing import Final

__all__ = ["EventReader"]

_MOST_LINE: Final = 64 * 1024


class EventReader:
    r"""Reads one stream after another of the same events; `last_id` is where the next one goes on.

    >>> reader = EventReader()
    >>> reader.feed(b"id: 7\nevent: rel"), reader.feed(b"eased\ndata: {}\n\n"), reader.last_id
    ([], ['released'], '7')
    """

    def __init__(self) -> None:
        self.last_id = ""
        self._id = ""
        self._rest = b""
        self._kind = ""
        self._has_data = False

    def feed(self, piece: bytes) -> list[str]:
        """The kinds of the events that `piece` completes; `message` for one that does not tell its own."""
        text = self._rest + piece
        held_back = b"\r" if text.endswith(b"\r") else b""  # the first half of a line's end, perhaps
        text = text.removesuffix(held_back).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = text.split(b"\n")
        self._rest = rest[:_MOST_LINE] + held_back
        kinds: list[str] = []
        for line in lines:
            if line:
                self._take(line)
                continue
            self.last_id = self._id
            if self._has_data:
                kinds.append(self._kind or "message")
            self._kind, self._has_data = "", False
        return kinds

    def begin(self) -> None:
        """A new stream begins: what the one before left unfinished is dropped."""
        self._rest, self._kind, self._has_data, self._id = b"", "", False, self.last_id

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"id":
            text = value.decode("utf-8", "replace")
            if text.isascii() and text.isprintable() and len(text) <= 200:
                self._id = text
        elif name == b"event":
            self._kind = value.decode("utf-8", "replace")
        elif name == b"data":
            self._has_data = True
