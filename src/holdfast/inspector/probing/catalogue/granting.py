"""Probes of what a LOCK is answered that is granted."""

from __future__ import annotations

import re
from typing import Final

from holdfast.inspector.notes import Level, rfc
from holdfast.inspector.probing.probe import Need, NotApplicableError, UndecidedError, probe
from holdfast.inspector.probing.reply import path_of
from holdfast.inspector.probing.room import Room, lockinfo
from holdfast.wire.xmlread import Element

__all__ = [
    "depth_default",
    "depth_one",
    "depth_zero",
    "endless_lock",
    "lock_body",
    "lock_status",
    "lock_token_field",
    "lock_without_body",
    "owner_kept",
    "token_for_tree",
    "token_unguessable",
    "token_unique",
    "without_timeout",
]

_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>]+\Z")


@probe(Level.WARN, rfc(4918, "9.10.6"))
def lock_status(room: Room) -> None:
    """LOCK of a document that is there is answered 200, not 201.

    201 says that a document was created: clients then upload, or delete what they believe to be their own.
    """
    held = room.creator.held(room.document())
    room.expect(
        held.reply.status == 200, f"LOCK of a document that is there was answered {held.reply.status}", held.reply
    )


@probe(Level.BAD, rfc(4918, "9.10.1"))
def lock_token_field(room: Room) -> None:
    """The answer has a Lock-Token field with an absolute URI in angle brackets.

    davfs2 and others do not write at all where it is missing or bare.
    """
    reply = room.creator.held(room.document()).reply
    found = reply.token_field
    if not room.expect(found, "the Lock-Token field is missing", reply):
        return
    room.expect(found.startswith("<") and found.endswith(">"), f"Lock-Token is no Coded-URL: {found}", reply)
    room.expect(_URI.match(reply.token), f"the lock token is no absolute URI: {reply.token}", reply)


@probe(Level.BAD, rfc(4918, "9.10.1"))
def lock_body(room: Room) -> None:
    """The answer's body is prop/lockdiscovery with all that there is to know about the lock.

    Clients learn from it for how long they hold the lock, and what it covers.
    """
    doc = room.document()
    reply = room.creator.held(doc).reply
    told = reply.field("content-type").partition(";")[0].strip().lower()
    room.expect(
        told in {"application/xml", "text/xml"},
        f"the body is XML, but the Content-Type says {told or 'nothing'}",
        reply,
    )
    is_prop = reply.xml is not None and (reply.xml.namespace, reply.xml.name) == ("DAV:", "prop")
    if not room.expect(
        is_prop and reply.named("lockdiscovery"), "the body is no prop element with lockdiscovery", reply
    ):
        return
    lock = next((lock for lock in reply.locks if lock.token == reply.token), None)
    if (
        not room.expect(lock, "the body has no activelock with the token of the Lock-Token field", reply)
        or lock is None
    ):
        return
    room.expect(lock.scope == "exclusive", f"lockscope is {lock.scope or 'missing'}", reply)
    room.expect(lock.kind == "write", f"locktype is {lock.kind or 'missing'}", reply)
    room.expect(lock.depth == "0", f"depth is {lock.depth or 'missing'} where 0 was asked for", reply)
    room.expect(
        lock.timeout_s is not None or lock.timeout.lower() == "infinite",
        f"timeout is {lock.timeout or 'missing'}",
        reply,
    )
    room.expect(lock.root is not None, "lockroot is missing", reply)
    room.expect(lock.root in {None, path_of(doc)}, f"lockroot names {lock.root}", reply)


@probe(Level.BAD, rfc(4918, "9.10.1"))
def owner_kept(room: Room) -> None:
    """The owner element comes back as it was sent, with its elements, namespaces and text.

    It is how people recognise each other.
    """
    sent = (
        '<D:href>mailto:ada@example.org</D:href><x:who xmlns:x="urn:x-probe" xml:lang="de">Zo\u00eb &amp; Ada</x:who>'
    )
    doc = room.document()
    reply = room.creator.lock(doc, body=lockinfo(owner=sent))
    if not reply.token:
        msg = f"a LOCK with elements in its owner was answered {reply.status}"
        raise NotApplicableError(msg)
    shown = room.creator.propfind(doc)
    owner = next((lock.owner for lock in (*shown.locks, *reply.locks) if lock.owner is not None), None)
    if not room.expect(owner, "the owner is not shown to its own creator", shown) or owner is None:
        return
    found = {(child.namespace, child.name): child for child in owner.elements()}
    room.expect(("DAV:", "href") in found and ("urn:x-probe", "who") in found, "elements of the owner are lost", shown)
    who: Element | None = found.get(("urn:x-probe", "who"))
    room.expect(who is None or who.text() == "Zo\u00eb & Ada", "the owner's text has changed", shown)


@probe(Level.BAD, rfc(4918, "6.5"))
def token_unique(room: Room) -> None:
    """Each lock has a token of its own, also after UNLOCK."""
    doc = room.document()
    seen: set[str] = set()
    for _ in range(4):
        held = room.creator.held(doc)
        room.expect(held.token not in seen, "a token was given a second time", held.reply)
        seen.add(held.token)
        room.creator.unlock(doc, held.token)


@probe(Level.WARN, rfc(4918, "6.5"))
def token_unguessable(room: Room) -> None:
    """One token tells nothing about the next.

    Servers that take the token for the permission are open to whoever counts on from his own.
    """
    doc = room.document()
    tokens: list[str] = []
    for _ in range(4):
        held = room.creator.held(doc)
        tokens.append(held.token)
        room.creator.unlock(doc, held.token)
    longest = max(map(len, tokens))
    differing = [at for at in range(longest) if len({token[at : at + 1] for token in tokens}) > 1]
    room.expect(len(differing) > 8, f"four tokens differ in {len(differing)} characters only: {', '.join(tokens)}")


@probe(Level.BAD, rfc(4918, "9.10.3"))
def depth_zero(room: Room) -> None:
    """A depth-0 lock on a collection leaves what its members hold alone."""
    coll, doc = _with_member(room)
    reply = room.creator.lock(coll, depth="0")
    if not reply.token:
        msg = f"LOCK of a collection was answered {reply.status}"
        raise NotApplicableError(msg)
    room.allowed(room.other.put(doc), "a member of a collection with a depth-0 lock could not be written")


@probe(Level.BAD, rfc(4918, "9.10.3"))
def depth_default(room: Room) -> None:
    """A LOCK without a Depth field locks the whole tree."""
    coll, doc = _with_member(room)
    held = room.creator.held(coll, depth=None)
    told = next((lock.depth for lock in held.reply.locks), "")
    room.expect(
        told == "infinity", f"the lock that was asked for without Depth has depth {told or '(not told)'}", held.reply
    )
    room.kept_out(
        room.other.put(doc), "somebody without the token wrote a member of a collection that was locked without Depth"
    )


@probe(Level.BAD, rfc(4918, "9.10.3"))
def depth_one(room: Room) -> None:
    """A LOCK with `Depth: 1` is refused."""
    reply = room.creator.lock(room.collection(), depth="1")
    room.refused(reply, "a lock was granted for Depth: 1")


@probe(Level.BAD, rfc(4918, "9.10.3"), needs=(Need.LOCKS, Need.DISCOVERY))
def token_for_tree(room: Room) -> None:
    """A member of a locked tree shows the same single token, and the lock root."""
    coll, doc = _with_member(room)
    held = room.creator.held(coll, depth="infinity")
    shown = room.creator.propfind(doc)
    if not room.expect(shown.locks, "a member of a locked tree shows no lock", shown):
        return
    tokens = {lock.token for lock in shown.locks if lock.token}
    room.expect(tokens <= {held.token}, "a member shows another token than the tree's", shown)
    roots = {lock.root for lock in shown.locks}
    room.expect(
        roots <= {path_of(coll)}, f"a member shows as lock root: {', '.join(str(root) for root in roots)}", shown
    )


@probe(Level.BAD, rfc(4918, "9.10.2"))
def lock_without_body(room: Room) -> None:
    """A LOCK without body and without If makes no lock."""
    doc = room.document()
    reply = room.creator.lock(doc, body=b"")
    room.refused(reply, "a LOCK without a body was granted")
    shown = room.creator.propfind(doc)
    room.expect(not shown.locks, "a LOCK without a body has made a lock", shown)


@probe(Level.BAD, rfc(4918, "10.7"))
def without_timeout(room: Room) -> None:
    """A lock that is asked for without a Timeout field, or for Infinite, is one that holds."""
    for name, asked in (("no Timeout field", None), ("Timeout: Infinite", "Infinite")):
        doc = room.document(f"{'none' if asked is None else 'infinite'}.txt")
        reply = room.creator.lock(doc, timeout=asked)
        if not room.expect(reply.token and reply.took_effect, f"LOCK with {name} was answered {reply.status}", reply):
            continue
        room.kept_out(room.other.put(doc), f"a lock that was granted with {name} does not protect its document")


@probe(Level.INFO, rfc(4918, "6.6"))
def endless_lock(room: Room) -> None:
    """A lock that is asked for without end is given one.

    A client that crashes otherwise leaves the document locked until somebody removes the lock by hand.
    """
    reply = room.creator.lock(room.document(), timeout="Infinite")
    if not reply.locks:
        raise UndecidedError("the answer shows no lock")
    timeout = reply.locks[0].timeout
    room.expect(timeout.lower() != "infinite", "Timeout: Infinite was granted", reply)


def _with_member(room: Room) -> tuple[str, str]:
    coll = room.collection()
    return coll, room.document("collection/member.txt")
