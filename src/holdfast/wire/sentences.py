"""What a refusal says to a person: one plain sentence or two about who holds a lock, since when, until when.

Owns: those words, and the everyday names of programs. Must not know: HTML, headers. All text that
comes from a client is cut to a length and cleaned of line breaks here, so a sentence stays one.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from holdfast.core.access import ANONYMOUS

__all__ = ["broken_text", "clean", "clock_text", "holder_text", "program_name"]

_LONGEST: Final = 120
_BREAKS: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# What turns the direction of the text around it, or is not seen at all: a name could read as another, or turn the sentence.
_UNSEEN: Final = re.compile(
    "[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]+"
)

# What is found in a User-Agent -> what people call the program; the first that fits counts.
_PROGRAMS: Final = (
    ("Microsoft Office", "Microsoft Office"),
    ("MSOffice", "Microsoft Office"),
    ("Microsoft-WebDAV-MiniRedir", "Windows Explorer"),
    ("DavClnt", "Windows Explorer"),
    ("LibreOffice", "LibreOffice"),
    ("WebDAVFS", "macOS Finder"),
    ("WebDAVLib", "macOS Finder"),
    ("davfs2", "davfs2"),
    ("cadaver", "cadaver"),
    ("rclone", "rclone"),
    ("Cyberduck", "Cyberduck"),
    ("Mountain Duck", "Mountain Duck"),
    ("gvfs", "GNOME Files"),
    ("KeePass", "KeePass"),
    ("WinSCP", "WinSCP"),
    ("curl/", "curl"),
    ("Mozilla/", "a web browser"),
)


def clean(text: str, longest: int = _LONGEST) -> str:
    """Text of a client on one line, at most `longest` characters; marks that turn the direction of writing are dropped."""
    line = _BREAKS.sub(" ", _UNSEEN.sub("", text)).strip() if not text.isalnum() else text
    return line if len(line) <= longest else line[: longest - 1] + "\u2026"


def program_name(client: str) -> str:
    """The everyday name of the program in a User-Agent; otherwise its first word; empty where unknown."""
    if not client:
        return ""
    for part, name in _PROGRAMS:
        if part in client:
            return name
    words = client.split()
    return clean(words[0].split("/")[0], 40) if words else ""


def holder_text(name: str, owner: str, *, begins: bool = True) -> str:
    """Who holds a lock; `begins` a sentence. Without users everyone is anonymous, and the client's own owner text is all there is."""
    if name and name != ANONYMOUS.name:
        return clean(name)
    someone = "Someone" if begins else "someone"
    return f"{someone} (\u201c{clean(owner, 60)}\u201d)" if owner.strip() else someone


def broken_text(actor: str, reason: str, at: datetime, today: datetime) -> str:
    """What a former holder is told: who broke the lock, when and why. The instants are on the wall clock."""
    because = f"; reason: {clean(reason)}" if reason else ""
    return f"Your lock was broken by {'somebody' if actor == ANONYMOUS.name else clean(actor)} at {clock_text(at, today)}{because}."


def clock_text(instant: datetime, today: datetime) -> str:
    """An instant for people, in UTC: the time alone when it falls on the day of `today`, else the day as well."""
    time = f"{instant.hour:02}:{instant.minute:02} UTC"
    if instant.date() == today.date():
        return time
    year = "" if instant.year == today.year else f" {instant.year}"
    return f"{instant.day} {instant:%b}{year} {time}"
