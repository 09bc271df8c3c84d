"""Probes of the If field (RFC 4918 section 10.4): what is true, what is false, and what is no If field at all."""

from __future__ import annotations

from holdfast.inspector.notes import Level, rfc
from holdfast.inspector.probing.probe import Need, NotApplicableError, probe
from holdfast.inspector.probing.reply import Reply
from holdfast.inspector.probing.room import Room

__all__ = [
    "if_and",
    "if_before_lock",
    "if_etag",
    "if_false",
    "if_many_tokens",
    "if_no_lock",
    "if_or",
    "if_path_tag",
    "if_syntax",
    "if_tagged",
    "if_token_of_another",
    "if_true_submits_nothing",
    "if_unmapped",
    "lock_under_etag",
]

_BOGUS = "urn:uuid:00000000-0000-4000-8000-00000000dead"


def _is_412(room: Room, reply: Reply, what: str) -> None:
    """Refused, and with 412: the RFC says MUST for both, and a client minds only the first."""
    if room.refused(reply, what):
        room.expect(reply.status == 412, f"the refusal is {reply.status}, not 412: {what}", reply, Level.WARN)


@probe(Level.BAD, rfc(4918, "10.4.1"), needs=())
def if_false(room: Room) -> None:
    """A PUT whose If field is false is refused with 412, also on a document that is not locked."""
    doc = room.document()
    _is_412(
        room, room.creator.put(doc, if_=f"(<{_BOGUS}>)"), "a PUT was done although it was to be done under a lock only"
    )


@probe(Level.WARN, rfc(4918, "10.4.1"))
def if_before_lock(room: Room) -> None:
    """On a locked document too a false If field is 412, not 423.

    A client that gets a 423 waits for the lock; a client that gets a 412 knows that its own is gone.
    """
    doc = room.document()
    room.creator.held(doc)
    reply = room.other.put(doc, if_=f"(<{_BOGUS}>)")
    if room.refused(reply, "a PUT with a wrong token on a locked document was done"):
        room.expect(
            reply.status == 412, f"a PUT with a false If field on a locked document was answered {reply.status}", reply
        )


@probe(Level.BAD, rfc(4918, "10.4.2"), needs=())
def if_syntax(room: Room) -> None:
    """An If field that is none is refused with 400."""
    doc = room.document()
    for malformed in ("(<urn:x", "()", "<urn:x>", '(["a)'):
        reply = room.creator.put(doc, if_=malformed)
        if room.refused(reply, f"a PUT with the malformed If: {malformed} was done"):
            room.expect(
                reply.status == 400, f"the refusal of If: {malformed} is {reply.status}, not 400", reply, Level.WARN
            )


@probe(Level.BAD, rfc(4918, "10.4.4"), needs=())
def if_etag(room: Room) -> None:
    """An entity tag in an If field is compared: the right one permits, another one is 412."""
    doc = room.document()
    etag = room.creator.get(doc).field("etag")
    if not etag:
        raise NotApplicableError("the server sends no entity tags")
    _is_412(room, room.creator.put(doc, if_='(["nothing-like-it"])'), "a PUT under another entity tag was done")
    etag = room.creator.get(doc).field("etag")
    room.allowed(room.creator.put(doc, if_=f"([{etag}])"), "a PUT under the entity tag that GET had told was refused")


@probe(Level.BAD, rfc(4918, "10.4.3"))
def if_and(room: Room) -> None:
    """All conditions of one list have to be true: the right token with a wrong entity tag is 412.

    Otherwise an upload that was meant for the version that was read overwrites another.
    """
    held = room.creator.held(room.document())
    reply = room.creator.put(held.path, if_=f'(<{held.token}> ["nothing-like-it"])')
    _is_412(room, reply, "a PUT with the right token and a wrong entity tag was done")
    etag = room.creator.get(held.path).field("etag")
    if etag:
        reply = room.creator.put(held.path, if_=f"(<{held.token}> [{etag}])")
        room.allowed(reply, "a PUT with the right token and the right entity tag was refused")


@probe(Level.BAD, rfc(4918, "10.4.3"))
def if_or(room: Room) -> None:
    """One true list among several is enough."""
    held = room.creator.held(room.document())
    reply = room.creator.put(held.path, if_=f"(<{_BOGUS}>) (<{held.token}>)")
    room.allowed(reply, "a PUT with two lists, the second of which is true, was refused")


@probe(Level.BAD, rfc(4918, "10.4.8"), needs=())
def if_no_lock(room: Room) -> None:
    """`(Not <DAV:no-lock>)` is always true, and `(<DAV:no-lock>)` never."""
    doc = room.document()
    room.allowed(room.creator.put(doc, if_="(Not <DAV:no-lock>)"), "a PUT under (Not <DAV:no-lock>) was refused")
    _is_412(room, room.creator.put(doc, if_="(<DAV:no-lock>)"), "a PUT under (<DAV:no-lock>) was done")


@probe(Level.BAD, rfc(4918, "7.5"))
def if_true_submits_nothing(room: Room) -> None:
    """An If field that is true but names no token of the lock does not open the document."""
    held = room.creator.held(room.document())
    for condition in ("(Not <DAV:no-lock>)", f"(<{held.token}x>) (Not <DAV:no-lock>)"):
        reply = room.other.put(held.path, if_=condition)
        room.kept_out(reply, "a locked document was overwritten under a condition that is true without its token")


@probe(Level.BAD, rfc(4918, "10.4.2"))
def if_tagged(room: Room) -> None:
    """A tagged list is about the resource that it names: a token is false for one that it does not lock."""
    free = room.document("free.txt")
    held = room.creator.held(room.document())
    reply = room.creator.put(held.path, if_=f"<{room.session.origin}{free}> (<{held.token}>)")
    _is_412(room, reply, "a PUT was done under a tagged list that is false")
    reply = room.creator.put(held.path, if_=f"<{room.session.origin}{held.path}> (<{held.token}>)")
    room.allowed(reply, "a PUT with its token in a list that is tagged with its own URL was refused")


@probe(Level.WARN, rfc(4918, "8.3"))
def if_path_tag(room: Room) -> None:
    """A list may be tagged with a path instead of a URL."""
    held = room.creator.held(room.document())
    reply = room.creator.put(held.path, if_=f"<{held.path}> (<{held.token}>)")
    room.allowed(reply, "a PUT with its token in a list that is tagged with its own path was refused")


@probe(Level.BAD, rfc(4918, "10.4.4"))
def if_token_of_another(room: Room) -> None:
    """The token of another document's lock is false for this one: 412."""
    doc = room.document("free.txt")
    held = room.creator.held(room.document())
    _is_412(
        room, room.creator.put(doc, if_=held.submitted), "a PUT was done under the token of another document's lock"
    )


@probe(Level.BAD, rfc(4918, "10.4.4"), needs=())
def if_unmapped(room: Room) -> None:
    """Where nothing is no entity tag is true, and its Not is."""
    new = room.path("new.txt")
    _is_412(
        room,
        room.creator.put(new, if_='(["x"])'),
        "a PUT that was meant for a version that is there made a new document",
    )
    room.allowed(room.creator.put(new, if_='(Not ["x"])'), "a PUT under a condition that is true was refused")


@probe(Level.WARN, rfc(4918, "10.4.3"))
def if_many_tokens(room: Room) -> None:
    """The right token is found behind thirty others."""
    held = room.creator.held(room.document())
    others = " ".join(f"(<{_BOGUS[:-2]}{number:02}>)" for number in range(30))
    reply = room.creator.put(held.path, if_=f"{others} (<{held.token}>)")
    if reply.status not in {400, 413, 431}:
        room.allowed(reply, "a PUT whose right token comes behind thirty others was refused")


@probe(Level.WARN, rfc(4918, "10.4.1"), needs=(Need.LOCKS,))
def lock_under_etag(room: Room) -> None:
    """A LOCK may stand under an entity tag: lock what I have read, or nothing."""
    doc = room.document()
    etag = room.creator.get(doc).field("etag")
    if not etag:
        raise NotApplicableError("the server sends no entity tags")
    reply = room.creator.lock(doc, if_='(["nothing-like-it"])')
    _is_412(room, reply, "a LOCK under a wrong entity tag was granted")
    if not reply.took_effect:
        room.allowed(room.creator.lock(doc, if_=f"([{etag}])"), "a LOCK under the right entity tag was refused")
