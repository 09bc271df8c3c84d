"""RFC 4918 sections 7, 9.6 to 9.9: what a write lock protects, and what it does not.

The numbers in brackets are those of the project's list of locking requirements that litmus does not cover.
"""

from __future__ import annotations

import contextlib
import socket

import pytest

from tests.serving import DAV
from tests.webdav.rooms import Room, conditions, discovered, proppatch_body, roots, write_methods


@pytest.mark.parametrize("way", ["MOVE", "COPY", "MKCOL", "PUT"])
def test_what_comes_into_a_collection_locked_in_depth_is_locked_with_it(room: Room, way: str) -> None:
    """[3] Sections 6.1 point 4 and 7.4."""
    room.make("coll/", "from")
    token = room.alice.locked(room("coll"), depth="infinity")
    tagged = f"<{room('coll/')}> (<{token}>)"
    if way in {"MOVE", "COPY"}:
        answer = room.alice.request(way, room("from"), destination=room.at("coll/new"), if_=tagged)
    else:
        answer = room.alice.request(way, room("coll/new"), b"text" if way == "PUT" else None, if_=tagged)
    assert answer.status == 201
    [lock] = discovered(room.bob, room("coll/new"))
    assert (lock.findtext(f"{DAV}lockroot/{DAV}href") or "").rstrip("/") == room("coll")
    assert room.bob.request("PROPPATCH", room("coll/new"), proppatch_body()).status == 423
    assert room.bob.request("DELETE", room("coll/new")).status == 423


def test_what_is_moved_out_of_a_locked_collection_is_no_longer_locked(room: Room) -> None:
    """[4] Sections 6.1 point 4 and 7.4."""
    room.make("coll/", "coll/doc")
    token = room.alice.locked(room("coll"), depth="infinity")
    moved = room.alice.request("MOVE", room("coll/doc"), destination=room("out"), if_=f"(<{token}>)")
    assert moved.status == 201
    assert discovered(room.bob, room("out")) == []
    assert room.bob.put(room("out"), b"free").status == 204
    assert len(discovered(room.bob, room("coll"))) == 1


def test_reads_are_never_stopped_by_a_lock(room: Room) -> None:
    """[13] Section 7: GET, HEAD, OPTIONS, PROPFIND, and COPY from a locked resource, by another principal."""
    room.make("coll/", "coll/doc")
    room.alice.locked(room("coll"), depth="infinity")
    assert room.bob.get(room("coll/doc")).body == b"text"
    assert room.bob.request("HEAD", room("coll/doc")).status == 200
    assert room.bob.request("OPTIONS", room("coll/doc")).status == 200
    assert room.bob.propfind(room("coll/"), depth="1").status == 207
    assert room.bob.get(room("coll/")).status == 200
    assert room.bob.request("COPY", room("coll/doc"), destination=room("copy")).status == 201
    assert discovered(room.bob, room("copy")) == []  # section 7.6: the lock is not copied
    assert room.bob.request("COPY", room("coll/"), destination=room("copies")).status == 201
    assert room.bob.put(room("copies/doc"), b"free").status == 204


@pytest.mark.parametrize("scope", ["exclusive", "shared"])
@pytest.mark.parametrize("depth", ["0", "infinity"])
def test_every_change_of_a_locked_document_by_another_is_423(room: Room, scope: str, depth: str) -> None:
    """[14] [51] Section 7: no write method passes, and none has an effect: body, ETag and properties stay."""
    room.make("doc", "source")
    before = room.alice.get(room("doc"))
    token = room.alice.locked(room("doc"), scope, depth)
    for name, answer in write_methods(room.bob, room("doc"), room("elsewhere"), room("source")).items():
        assert answer.status == 423, name
        assert conditions(answer) == ["lock-token-submitted"], name
        assert roots(answer) == [room("doc")], name
    for method in ("POST", "PATCH"):
        assert room.bob.request(method, room("doc"), b"changed").status == 405
    assert room.bob.request("UNLOCK", room("doc"), lock_token=f"<{token}>").status == 403
    after = room.bob.get(room("doc"))
    assert (after.body, after["ETag"], after["Last-Modified"]) == (
        before.body,
        before["ETag"],
        before["Last-Modified"],
    )
    assert b"urn:test" not in room.bob.propfind(room("doc")).body
    assert room.bob.get(room("elsewhere")).status == 404
    assert room.bob.get(room("source")).status == 200
    assert len(discovered(room.bob, room("doc"))) == 1


def test_a_locked_collection_of_depth_0_keeps_its_members_but_not_their_content(room: Room) -> None:
    """[16] Section 7.4: others cannot add, remove, rename or move out members; they can change what is in them."""
    room.make("coll/", "coll/doc", "coll/sub/", "coll/sub/deep", "outside")
    token = room.alice.locked(room("coll"))
    bob = room.bob
    refused = {
        "PUT a new member": bob.put(room("coll/new")),
        "MKCOL": bob.request("MKCOL", room("coll/newcoll")),
        "LOCK of an unmapped URL": bob.lock(room("coll/locknew")),
        "DELETE": bob.request("DELETE", room("coll/doc")),
        "DELETE of a collection": bob.request("DELETE", room("coll/sub")),
        "MOVE out": bob.request("MOVE", room("coll/doc"), destination=room("away")),
        "MOVE in": bob.request("MOVE", room("outside"), destination=room("coll/in")),
        "rename": bob.request("MOVE", room("coll/doc"), destination=room("coll/renamed")),
        "COPY in": bob.request("COPY", room("outside"), destination=room("coll/in")),
        "PROPPATCH of it": bob.request("PROPPATCH", room("coll"), proppatch_body()),
        "DELETE of it": bob.request("DELETE", room("coll")),
    }
    assert {name: answer.status for name, answer in refused.items()} == dict.fromkeys(refused, 423)
    assert all(token.encode() not in answer.body for answer in refused.values())
    assert sorted(path.name for path in (room.folder / "coll").iterdir()) == ["doc", "sub"]
    assert bob.put(room("coll/doc"), b"content is free").status == 204
    assert bob.request("PROPPATCH", room("coll/doc"), proppatch_body()).status == 207
    assert bob.put(room("coll/sub/new")).status == 201
    assert bob.request("DELETE", room("coll/sub/deep")).status == 204
    assert bob.request("COPY", room("outside"), destination=room("coll/doc")).status == 204
    for change in ("coll/mine", "coll/doc"):
        assert room.alice.request("DELETE", room("coll/doc"), if_=f"<{room('coll')}> (<{token}>)").status in {204, 404}
        assert room.alice.put(room(change), if_=f"<{room('coll')}> (<{token}>)").status == 201


def test_a_resource_with_a_lock_is_not_moved_into_anothers_locked_collection(room: Room) -> None:
    """[18] Section 7.4: 423, whichever of the two tokens is missing."""
    room.make("coll/", "doc")
    room.bob.locked(room("coll"), depth="infinity")
    token = room.alice.locked(room("doc"))
    refusal = room.alice.request("MOVE", room("doc"), destination=room("coll/doc"), if_=f"(<{token}>)")
    assert refusal.status == 423
    assert conditions(refusal) == ["lock-token-submitted"]
    assert [root.rstrip("/") for root in roots(refusal)] == [room("coll")]
    assert room.alice.get(room("doc")).status == 200
    assert len(discovered(room.bob, room("doc"))) == 1


def test_move_needs_the_tokens_of_both_ends(room: Room) -> None:
    """[19] Section 7.5."""
    room.make("source", "target/", "target/old")
    source = room.alice.locked(room("source"))
    target = room.alice.locked(room("target"), depth="infinity")
    tag_source, tag_target = f"<{room('source')}> (<{source}>)", f"<{room('target/')}> (<{target}>)"

    def move(condition: str | None) -> int:
        fields = {} if condition is None else {"if_": condition}
        return room.alice.request("MOVE", room("source"), destination=room("target/new"), **fields).status

    assert [move(None), move(tag_source), move(tag_target)] == [423, 423, 423]
    assert move(f"{tag_source} {tag_target}") == 201
    assert room.bob.get(room("source")).status == 404


@pytest.mark.parametrize("absolute", [True, False])
def test_copy_move_and_delete_with_tagged_tokens_succeed(room: Room, absolute: bool) -> None:
    """[20] Section 7.5.1, with tags that are absolute URIs and absolute paths."""
    room.make("a", "b", "c")
    tokens = {name: room.alice.locked(room(name)) for name in "abc"}

    def tag(*names: str) -> str:
        return " ".join(f"<{room.at(name) if absolute else room(name)}> (<{tokens[name]}>)" for name in names)

    assert room.alice.request("COPY", room("a"), destination=room.at("b"), if_=tag("b")).status == 204
    assert room.alice.request("MOVE", room("a"), destination=room.at("c"), if_=tag("a", "c")).status == 204
    assert room.alice.request("DELETE", room("b"), if_=tag("b")).status == 204


@pytest.mark.parametrize("form", ["(<{token}>)", "<{coll}> (<{token}>)", "<{member}> (<{token}>)"])
def test_deleting_a_member_of_a_locked_collection_needs_the_collections_token(room: Room, form: str) -> None:
    """[21] Section 7.5.2: without it 423 with lock-token-submitted and the lock root; with it in any of its forms 204."""
    room.make("locked/", "locked/member")
    token = room.alice.locked(room("locked"), depth="infinity")
    for client in (room.bob, room.alice):
        refusal = client.request("DELETE", room("locked/member"))
        assert refusal.status == 423
        assert conditions(refusal) == ["lock-token-submitted"]
        assert [root.rstrip("/") for root in roots(refusal)] == [room("locked")]
    condition = form.format(token=token, coll=room.at("locked/"), member=room.at("locked/member"))
    assert room.bob.request("DELETE", room("locked/member"), if_=condition).status == 423
    assert room.alice.request("DELETE", room("locked/member"), if_=condition).status == 204


def test_a_separately_locked_member_needs_both_tokens(room: Room) -> None:
    """[21] Section 7.4: the collection's token is required in addition to the member's own."""
    room.make("coll/", "coll/doc")
    member = room.alice.locked(room("coll/doc"))
    collection = room.bob.locked(room("coll"))
    assert room.alice.request("DELETE", room("coll/doc"), if_=f"(<{member}>)").status == 423
    assert room.bob.request("DELETE", room("coll/doc"), if_=f"<{room('coll')}> (<{collection}>)").status == 423
    assert room.alice.put(room("coll/doc"), if_=f"(<{member}>)").status == 204
    assert room.bob.unlock(room("coll"), collection).status == 204
    assert room.alice.request("DELETE", room("coll/doc"), if_=f"(<{member}>)").status == 204


def test_a_lock_does_not_move_with_its_resource(room: Room) -> None:
    """[22] Section 7.6: free in a free place; in a locked collection under that collection's lock alone."""
    room.make("doc", "coll/", "other")
    token = room.alice.locked(room("doc"))
    assert room.alice.request("MOVE", room("doc"), destination=room("moved"), if_=f"(<{token}>)").status == 201
    assert discovered(room.alice, room("moved")) == []
    assert room.bob.put(room("doc")).status == 201  # nothing is left at the source either
    own = room.alice.locked(room("other"))
    collection = room.alice.locked(room("coll"), depth="infinity")
    both = f"<{room('other')}> (<{own}>) <{room('coll')}> (<{collection}>)"
    assert room.alice.request("MOVE", room("other"), destination=room("coll/other"), if_=both).status == 201
    [lock] = discovered(room.alice, room("coll/other"))
    assert lock.findtext(f"{DAV}locktoken/{DAV}href") == collection
    assert (
        room.alice.request("MOVE", room("coll/other"), destination=room("coll/x"), if_=f"(<{collection}>)").status
        == 201
    )
    assert len(discovered(room.alice, room("coll/x"))) == 1  # moved within one lock: still in it


@pytest.mark.parametrize("depth", ["0", "infinity"])
def test_deleting_a_tree_with_anothers_locked_member_deletes_nothing_of_it(room: Room, depth: str) -> None:
    """[42] Section 9.6.1: 207 with 423 for the member; the member, its ancestors and all else stay."""
    room.make("tree/", "tree/sub/", "tree/sub/doc", "tree/free")
    room.bob.locked(room("tree/sub/doc"), depth=depth)
    answer = room.alice.request("DELETE", room("tree/"))
    assert answer.status == 207
    assert answer.statuses() == {room("tree/sub/doc"): 423}
    [href] = answer.hrefs(f"{DAV}response/{DAV}error/{DAV}lock-token-submitted/{DAV}href")
    assert href == room("tree/sub/doc")
    for name in ("tree/", "tree/sub/", "tree/sub/doc", "tree/free"):
        assert room.alice.get(room(name)).status == 200, name
    assert len(discovered(room.bob, room("tree/sub/doc"))) == 1


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
@pytest.mark.parametrize("lock_depth", ["0", "infinity"])
def test_a_collection_with_a_locked_child_is_not_overwritten(room: Room, method: str, lock_depth: str) -> None:
    """[43] Sections 9.8.4, 9.8.5 and 9.9.3."""
    room.make("source/", "source/new", "target/", "target/sub/", "target/sub/doc")
    room.bob.locked(room("target/sub"), depth=lock_depth)
    answer = room.alice.request(method, room("source/"), destination=room.at("target/"))
    assert answer.status == 207
    assert {href.rstrip("/"): status for href, status in answer.statuses().items()} == {room("target/sub"): 423}
    assert answer.xml.find(f"{DAV}response/{DAV}error/{DAV}lock-token-submitted") is not None
    assert room.alice.get(room("target/sub/doc")).status == 200
    assert room.alice.get(room("target/new")).status == 404
    assert room.alice.get(room("source/new")).status == 200


def test_a_collection_with_anothers_locked_member_is_not_moved(room: Room) -> None:
    """[44] Section 9.9.2: 207 names the member; neither end changes."""
    room.make("tree/", "tree/doc", "tree/free")
    token = room.bob.locked(room("tree/doc"))
    answer = room.alice.request("MOVE", room("tree/"), destination=room("moved/"))
    assert answer.status == 207
    assert answer.statuses() == {room("tree/doc"): 423}
    assert room.alice.get(room("moved/")).status == 404
    assert room.alice.get(room("tree/free")).status == 200
    assert room.bob.put(room("tree/doc"), if_=f"(<{token}>)").status == 204


@pytest.mark.parametrize("depth", ["0", "infinity"])
def test_no_collection_is_made_in_anothers_locked_collection(room: Room, depth: str) -> None:
    """[45] Section 9.3."""
    room.make("coll/")
    token = room.alice.locked(room("coll"), depth=depth)
    refusal = room.bob.request("MKCOL", room("coll/new/"))
    assert refusal.status == 423
    assert conditions(refusal) == ["lock-token-submitted"]
    assert room.bob.get(room("coll/new/")).status == 404
    assert room.alice.request("MKCOL", room("coll/new/"), if_=f"<{room('coll/')}> (<{token}>)").status == 201


@pytest.mark.parametrize("method", ["MOVE", "COPY"])
def test_overwrite_does_not_pass_a_lock_on_the_destination(room: Room, method: str) -> None:
    """[40] Section 10.6: Overwrite T is no token; and whoever may not write there is told 403 before all else."""
    room.make("source", "target")
    token = room.alice.locked(room("target"))
    for overwrite in ("T", "t"):
        refusal = room.bob.request(method, room("source"), destination=room.at("target"), overwrite=overwrite)
        assert refusal.status == 423
    assert room.bob.request(method, room("source"), destination=room.at("target"), overwrite="F").status == 412
    assert room.rita.request(method, room("source"), destination=room.at("target"), overwrite="F").status == 403
    assert room.alice.get(room("target")).body == b"text"
    tagged = f"<{room('target')}> (<{token}>)"
    assert room.alice.request(method, room("source"), destination=room.at("target"), if_=tagged).status == 204


def test_a_large_upload_to_a_locked_document_is_refused_before_its_body(room: Room) -> None:
    """[54] RFC 9110 section 10.1.1: Expect: 100-continue is answered 423 at once, with no 100 before it."""
    room.make("doc")
    room.alice.locked(room("doc"))
    head = (
        f"PUT {room('doc')} HTTP/1.1\r\nHost: {room.served.host}:{room.served.port}\r\n"
        f"Authorization: {room.bob.authorization}\r\nContent-Length: 10000000000\r\nExpect: 100-continue\r\n\r\n"
    )
    with contextlib.closing(socket.create_connection((room.served.host, room.served.port), timeout=20)) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 423 ")
    assert room.alice.get(room("doc")).body == b"text"
