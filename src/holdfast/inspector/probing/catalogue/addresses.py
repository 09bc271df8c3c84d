"""Probes of the names of one resource: each of them meets the same lock (RFC 4918 section 5.2, RFC 3986 section 6.2.2)."""

from __future__ import annotations

from typing import Final

from holdfast.inspector.notes import Level, rfc
from holdfast.inspector.probing.probe import NotApplicableError, probe
from holdfast.inspector.probing.room import Room

__all__ = ["alias_case", "alias_dots", "alias_encoding", "alias_slash", "alias_unicode"]

_WITHOUT: Final = "somebody without the token wrote a locked document"


def _try(room: Room, doc: str, alias: str, what: str) -> None:
    """Write the locked `doc` by another name, and look whether that is what happened."""
    reply = room.other.put(alias, b"by another name")
    if reply.took_effect and room.content(doc) != b"as it was":
        room.kept_out(reply, f"{_WITHOUT} by {what}")


@probe(Level.BAD, rfc(4918, "5.2"))
def alias_slash(room: Room) -> None:
    """A collection has one lock, with and without the slash at its end."""
    coll = room.collection()
    doc = room.document("collection/member.txt")
    plain = coll.rstrip("/")
    for first, second in ((plain, coll), (coll, plain)):
        held = room.creator.held(first)
        reply = room.other.lock(second, depth="0")
        room.refused(reply, "a collection was locked twice, with and without the slash at its end")
        room.creator.unlock(first, held.token)
        if reply.token:
            room.other.unlock(second, reply.token)
    room.creator.held(plain, depth="infinity")
    what = "the lock of a collection that was named without its slash does not protect its members"
    room.kept_out(room.other.put(doc), what)


@probe(Level.BAD, rfc(3986, "6.2.2.2"))
def alias_encoding(room: Room) -> None:
    """A document has one lock, however its URL is percent-encoded."""
    doc = room.document("doc\u00fcment.txt")
    room.creator.held(doc)
    last = doc.rpartition("/")[2]
    before = doc.removesuffix(last)
    _try(room, doc, before + "%64" + last[1:], "a URL with a letter percent-encoded")
    _try(room, doc, before + last.replace("%C3%BC", "%c3%bc"), "a URL percent-encoded in lower case")


@probe(Level.BAD, rfc(3986, "6.2.2.3"))
def alias_dots(room: Room) -> None:
    """Dot segments and doubled slashes lead to no way around a lock."""
    coll = room.collection()
    doc = room.document("collection/member.txt")
    room.creator.held(doc)
    for alias in (f"{coll}./member.txt", f"{coll}x/../member.txt", f"{coll}/member.txt", f"{coll}%2e/member.txt"):
        _try(room, doc, alias, f"the URL …{alias.removeprefix(room.folder)}")


@probe(Level.BAD, rfc(4918, "5.2"))
def alias_case(room: Room) -> None:
    """Where capitals do not matter they do not matter to a lock."""
    doc = room.document()
    capital = room.path("DOCUMENT.txt")
    if room.content(capital) is None:
        raise NotApplicableError("capitals matter here")
    room.creator.held(doc)
    _try(room, doc, capital, "a URL in capitals")


@probe(Level.BAD, rfc(4918, "5.2"))
def alias_unicode(room: Room) -> None:
    """Where composed and decomposed letters are the same they are the same to a lock."""
    doc = room.document("\u00e9.txt")
    decomposed = room.path("e\u0301.txt")
    if room.content(decomposed) is None:
        raise NotApplicableError("composed and decomposed letters differ here")
    room.creator.held(doc)
    _try(room, doc, decomposed, "a URL with decomposed letters")
