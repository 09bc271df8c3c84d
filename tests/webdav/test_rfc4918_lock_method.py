"""RFC 4918 sections 7.3, 9.10 and 9.11: what LOCK, its refresh and UNLOCK answer, and leave behind.

The numbers in brackets are those of the project's list of locking requirements that litmus does not cover.
"""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

import pytest

from tests.serving import DAV, lockinfo, serving
from tests.webdav.rooms import Room, activelocks, conditions, discovered, proppatch_body, roots


def test_a_lock_of_an_unmapped_url_makes_an_empty_document_that_is_like_any_other(room: Room) -> None:
    """[15] Sections 7.3 and 9.10.4."""
    answer = room.alice.lock(room("new.txt"))
    assert answer.status == 201
    token = answer.token
    empty = room.bob.get(room("new.txt"))
    assert (empty.status, empty.body, empty["Content-Length"]) == (200, b"", "0")
    assert room("new.txt") in room.bob.propfind(room(), depth="1").hrefs(f"{DAV}response/{DAV}href")
    assert len(discovered(room.bob, room("new.txt"))) == 1
    offered = room.bob.propfind(room("new.txt"), "supportedlock").xml
    assert len(offered.findall(f".//{DAV}lockentry")) == 2
    assert room.bob.request("MKCOL", room("new.txt")).status in {405, 423}
    assert room.alice.request("MKCOL", room("new.txt"), if_=f"(<{token}>)").status == 405
    assert room.bob.put(room("new.txt"), b"mine").status == 423
    assert room.alice.put(room("new.txt"), b"first", if_=f"(<{token}>)").status == 204
    assert room.alice.unlock(room("new.txt"), token).status == 204
    assert room.bob.get(room("new.txt")).body == b"first"
    token = room.alice.locked(room("never-written"))
    assert room.alice.unlock(room("never-written"), token).status == 204
    assert room.bob.get(room("never-written")).status == 200  # the empty document stays


def test_a_lock_in_depth_over_anothers_lock_fails_whole(room: Room) -> None:
    """[17] [28] Sections 7.4 and 9.10.3: 207, 423 for the member, 424 for the Request-URI, and no lock is left."""
    room.make("coll/", "coll/sub/", "coll/sub/doc", "coll/free")
    token = room.bob.locked(room("coll/sub/doc"))
    answer = room.alice.lock(room("coll/"), depth="infinity")
    assert answer.status == 207
    assert answer.statuses() == {room("coll/sub/doc"): 423, room("coll/"): 424}
    assert answer.xml.find(f"{DAV}response/{DAV}error/{DAV}no-conflicting-lock") is not None
    assert answer.headers["Lock-Token"] is None
    assert token.encode() not in answer.body
    for name in ("coll/", "coll/sub/", "coll/free"):
        assert discovered(room.alice, room(name)) == [], name
    assert room.bob.put(room("coll/free")).status == 204
    assert room.alice.lock(room("coll/"), "shared", "infinity").status == 207
    assert room.alice.lock(room("coll/"), depth="0").status == 200


@pytest.mark.parametrize("body", [None, b""])
def test_lock_without_a_body_never_makes_a_lock(room: Room, body: bytes | None) -> None:
    """[23] Sections 7.7 and 9.10.2: 400 with no If, on a mapped and on an unmapped URL."""
    room.make("doc")
    for name in ("doc", "unmapped"):
        answer = room.alice.request("LOCK", room(name), body, timeout="Second-60")
        assert answer.status == 400
    assert discovered(room.alice, room("doc")) == []
    assert room.alice.get(room("unmapped")).status == 404


def test_a_refresh_keeps_the_lock_and_answers_with_lockdiscovery_only(room: Room) -> None:
    """[24] Section 9.10.2: Depth is ignored, no Lock-Token field comes back, token and root stay."""
    room.make("coll/", "coll/doc")
    token = room.alice.locked(room("coll"), depth="infinity", timeout="Second-60")
    room.later(50)
    for depth in ("0", "1", "infinity"):
        answer = room.alice.request("LOCK", room("coll/doc"), if_=f"(<{token}>)", timeout="Second-100", depth=depth)
        assert answer.status == 200, depth
        assert answer.headers["Lock-Token"] is None
        [lock] = activelocks(answer)
        assert lock.findtext(f"{DAV}timeout") == "Second-100"
        assert lock.findtext(f"{DAV}locktoken/{DAV}href") == token
        assert lock.findtext(f"{DAV}depth") == "infinity"
    room.later(50)
    assert room.bob.put(room("coll/doc")).status == 423


def test_a_refresh_takes_exactly_one_token_of_a_lock_that_covers_the_url(room: Room) -> None:
    """[24] Sections 9.10.2 and 9.10.6: else 412 with lock-token-matches-request-uri, and nothing is refreshed."""
    room.make("doc", "other")
    first = room.alice.locked(room("doc"), "shared", timeout="Second-60")
    second = room.alice.locked(room("doc"), "shared", timeout="Second-60")
    other = room.alice.locked(room("other"), timeout="Second-60")
    room.later(30)
    wrong = [
        f"(<{first}> <{second}>)",
        f"(<{first}>) (<{second}>)",
        f"(<{other}>)",
        f"<{room('other')}> (<{other}>)",
        "(<urn:uuid:00000000-0000-4000-8000-000000000000>)",
    ]
    for condition in wrong:
        answer = room.alice.request("LOCK", room("doc"), if_=condition, timeout="Second-600")
        assert answer.status == 412, condition
        assert conditions(answer) == ["lock-token-matches-request-uri"], condition
    left = [int((lock.findtext(f"{DAV}timeout") or "")[7:]) for lock in discovered(room.alice, room("doc"))]
    assert all(seconds <= 31 for seconds in left)
    assert room.alice.request("LOCK", room("doc"), if_=f"(<{first}>)", timeout="Second-600").status == 200
    room.later(40)  # the other shared lock was not refreshed with it
    assert len(discovered(room.alice, room("doc"))) == 1


def test_a_granted_lock_is_told_in_full(room: Room) -> None:
    """[25] Section 9.10.1: Lock-Token as a Coded-URL, and a prop document with the whole activelock (wsgidav 369)."""
    room.make("coll/")
    answer = room.alice.lock(room("coll/"), "shared", "infinity", timeout="Second-77")
    assert answer["Lock-Token"].startswith("<urn:uuid:")
    assert answer["Lock-Token"].endswith(">")
    assert answer["Content-Type"].partition(";")[0] in {"application/xml", "text/xml"}
    assert answer.xml.tag == f"{DAV}prop"
    [lock] = answer.xml.findall(f"{DAV}lockdiscovery/{DAV}activelock")
    assert lock.find(f"{DAV}lockscope/{DAV}shared") is not None
    assert lock.find(f"{DAV}locktype/{DAV}write") is not None
    assert lock.findtext(f"{DAV}depth") == "infinity"
    assert lock.findtext(f"{DAV}timeout") == "Second-77"
    assert lock.findtext(f"{DAV}locktoken/{DAV}href") == answer.token
    assert (lock.findtext(f"{DAV}lockroot/{DAV}href") or "").rstrip("/") == room("coll")
    assert lock.find(f"{DAV}owner") is not None


def test_the_owner_comes_back_as_it_was_written(room: Room) -> None:
    """[26] Section 9.10.1: children, namespaces, attributes, xml:lang, mixed text; to its creator and to others."""
    owner = (
        '<x:person xmlns:x="urn:people" xml:lang="de" x:id="7">J\u00fcrgen &amp; <x:b>Zo\u00eb</x:b> tail</x:person>'
        '<D:href>mailto:a@example.org</D:href><plain xmlns="">p</plain> after'
    )
    answer = room.alice.request("LOCK", room("doc"), lockinfo(owner=owner), depth="0")
    assert answer.status == 201
    for lock in (*activelocks(answer), *discovered(room.bob, room("doc"))):
        [found] = lock.findall(f"{DAV}owner")
        person = found.find("{urn:people}person")
        assert person is not None
        assert person.attrib == {
            "{http://www.w3.org/XML/1998/namespace}lang": "de",
            "{urn:people}id": "7",
        }
        assert "".join(person.itertext()) == "J\u00fcrgen & Zo\u00eb tail"
        assert found.findtext(f"{DAV}href") == "mailto:a@example.org"
        assert found.findtext("plain") == "p"
        assert (found[-1].tail or "").strip() == "after"


def test_depth_1_is_refused_and_no_depth_is_infinity(room: Room) -> None:
    """[27] Section 9.10.3."""
    room.make("coll/", "coll/doc")
    for depth in ("1", "2", "banana"):
        assert room.alice.lock(room("coll"), depth=depth).status == 400
    assert discovered(room.alice, room("coll")) == []
    answer = room.alice.request("LOCK", room("coll"), lockinfo())
    assert answer.status == 200
    assert activelocks(answer)[0].findtext(f"{DAV}depth") == "infinity"
    assert room.bob.put(room("coll/doc")).status == 423


def test_one_token_stands_for_the_whole_tree(room: Room) -> None:
    """[29] [34] Sections 9.10.3 and 9.11: it permits all below, and UNLOCK by way of any member ends it all."""
    room.make("coll/", "coll/sub/", "coll/sub/doc", "coll/other")
    token = room.alice.locked(room("coll"), depth="infinity")
    for name in ("coll/sub/doc", "coll/other"):
        [lock] = discovered(room.alice, room(name))
        assert lock.findtext(f"{DAV}locktoken/{DAV}href") == token
        assert room.alice.put(room(name), if_=f"(<{token}>)").status == 204
    assert room.alice.put(room("coll/sub/new"), if_=f"(<{token}>)").status == 201
    assert room.alice.unlock(room("coll/sub/doc"), token).status == 204
    for name in ("coll", "coll/sub", "coll/sub/doc", "coll/other"):
        assert discovered(room.bob, room(name)) == []
    assert room.bob.put(room("coll/other")).status == 204


def test_a_lock_makes_no_collections_on_the_way(room: Room) -> None:
    """[30] Sections 9.10.4 and 9.10.6: 409 where the parent is missing, or is no collection."""
    room.make("doc")
    assert room.alice.lock(room("missing/new")).status == 409
    assert room.alice.lock(room("doc/new")).status == 409
    assert [path.name for path in room.folder.iterdir()] == ["doc"]
    assert room.bob.request("MKCOL", room("missing/")).status == 201  # no lock was left on what was not made
    assert room.bob.put(room("missing/new")).status == 201


def test_unlock_answers_each_case_with_its_own_status(room: Room) -> None:
    """[33] Section 9.11: 204; 400 without a token; 409 out of scope or unknown; 403 for another principal."""
    room.make("doc", "other")
    token = room.alice.locked(room("doc"))
    assert room.alice.request("UNLOCK", room("doc")).status == 400
    assert room.alice.request("UNLOCK", room("doc"), lock_token="banana <>").status == 400
    for name, sent in (("other", token), ("doc", "urn:uuid:00000000-0000-4000-8000-000000000000")):
        answer = room.alice.unlock(room(name), sent)
        assert answer.status == 409
        assert conditions(answer) == ["lock-token-matches-request-uri"]
    assert room.bob.unlock(room("doc"), token).status == 403
    assert len(discovered(room.alice, room("doc"))) == 1
    answer = room.alice.unlock(room("doc"), token)
    assert (answer.status, answer.body) == (204, b"")
    assert room.alice.unlock(room("doc"), token).status == 409


def test_an_if_header_on_unlock_is_a_condition_like_any_other(room: Room) -> None:
    """Section 9.11: it is not needed for the token, and 'when present, it has its normal meaning'."""
    room.make("doc")
    token = room.alice.locked(room("doc"))
    etag = room.alice.get(room("doc"))["ETag"]

    def unlock(condition: str) -> int:
        return room.alice.request("UNLOCK", room("doc"), lock_token=f"<{token}>", if_=condition).status

    assert unlock('(["another"])') == 412
    assert unlock("(<DAV:no-lock>)") == 412
    assert unlock("((") == 400
    assert len(discovered(room.alice, room("doc"))) == 1
    assert unlock(f"(<{token}> [{etag}])") == 204


def test_unlock_of_one_shared_lock_leaves_the_others(room: Room) -> None:
    """Section 9.11: the specific lock no longer exists; the resource may still be locked."""
    room.make("doc")
    mine = room.alice.locked(room("doc"), "shared")
    room.bob.locked(room("doc"), "shared")
    assert room.alice.unlock(room("doc"), mine).status == 204
    assert room.alice.put(room("doc")).status == 423
    assert len(discovered(room.alice, room("doc"))) == 1


def test_classes_1_and_2_are_on_every_options_answer(room: Room) -> None:
    """[47] Section 18.2: mapped, unmapped, locked, collection, server; with and without credentials."""
    room.make("doc", "coll/")
    room.alice.locked(room("doc"))
    for target in (room("doc"), room("coll/"), room("unmapped"), "/dav/", "/dav", "*"):
        for client in (room.bob, room.served.anonymous):
            answer = client.request("OPTIONS", target)
            assert answer.status == 200, target
            classes = [item.strip() for item in answer["DAV"].split(",")]
            assert {"1", "2"} <= set(classes), target
            assert {"LOCK", "UNLOCK"} <= {item.strip() for item in answer["Allow"].split(",")}


def test_one_element_stands_for_each_condition_inside_error(room: Room) -> None:
    """[46] Sections 14.5 and 16: DAV:error is the root and the condition its child; hrefs are the condition's children."""
    room.make("doc")
    room.alice.locked(room("doc"))
    for answer, name in (
        (room.bob.put(room("doc")), "lock-token-submitted"),
        (room.bob.lock(room("doc")), "no-conflicting-lock"),
    ):
        assert answer.xml.tag == f"{DAV}error"
        condition = answer.xml.find(f"{DAV}{name}")
        assert condition is not None
        assert [child.tag for child in condition] == [f"{DAV}href"]
        assert roots(answer) == [room("doc")]


def test_locks_survive_a_restart_of_the_server(tmp_path: Path) -> None:
    """[52] No RFC demands it; here a lock that was granted holds until its end, whatever becomes of the process."""
    with serving(tmp_path) as before:
        token = before.as_("alice").locked("/dav/doc", timeout="Second-3600")
    with serving(tmp_path) as after:
        alice, bob = after.as_("alice"), after.as_("bob")
        assert bob.put("/dav/doc").status == 423
        assert alice.put("/dav/doc", b"kept", if_=f"(<{token}>)").status == 204
        after.uptime.advance(3601)
        assert bob.request("PROPPATCH", "/dav/doc", proppatch_body()).status == 207


def test_a_token_without_angle_brackets_is_taken_where_the_windows_client_sends_one(room: Room) -> None:
    """Section 10.5 asks for a Coded-URL; the Mini-Redirector sends none on UNLOCK."""
    token = room.alice.locked(room("doc"))
    assert room.alice.request("UNLOCK", room("doc"), lock_token=token).status == 204


def test_a_lock_without_content_length_waits_for_nothing(room: Room) -> None:
    """[23] A LOCK head with neither Content-Length nor chunks has no body (RFC 9112 section 6.3): a refresh, so 400."""
    head = f"LOCK {room('x')} HTTP/1.1\r\nHost: h\r\nAuthorization: {room.alice.authorization}\r\n\r\n"
    with closing(socket.create_connection((room.served.host, room.served.port), timeout=20)) as connection:
        connection.sendall(head.encode())
        assert connection.recv(65_536).startswith(b"HTTP/1.1 400 ")


def test_the_root_of_a_collections_lock_is_shown_with_its_slash(room: Room) -> None:
    """Section 5.2 and the example of 7.5.2: in the answer to LOCK, a refresh, lockdiscovery, 423 and 207."""
    room.make("coll/", "coll/doc")
    granted = room.alice.lock(room("coll"), depth="infinity")
    refreshed = room.alice.request("LOCK", room("coll/doc"), if_=f"(<{granted.token}>)")
    shown = [
        *activelocks(granted),
        *activelocks(refreshed),
        *discovered(room.bob, room("coll")),
        *discovered(room.bob, room("coll/doc")),
        *activelocks(room.bob.propfind(room("coll"), "lockdiscovery", depth="1")),
    ]
    assert [lock.findtext(f"{DAV}lockroot/{DAV}href") for lock in shown] == [room("coll/")] * 6
    assert roots(room.bob.put(room("coll/doc"))) == [room("coll/")]
    assert roots(room.bob.request("DELETE", room("coll/"))) == [room("coll/")]
    assert roots(room.bob.lock(room("coll/doc"))) == [room("coll/")]
    nested = room.bob.request("DELETE", room())
    assert nested.hrefs(f"{DAV}response/{DAV}error//{DAV}lock-token-submitted/{DAV}href") == [room("coll/")]
    document = room.alice.lock(room("doc"))
    assert activelocks(document)[0].findtext(f"{DAV}lockroot/{DAV}href") == room("doc")
